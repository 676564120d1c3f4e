package delta_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/origin"
)

// A keyframe of many hundred packets is the first picture of whoever joins after it,
// whole, and nothing follows that needs what it does not have: also where more has
// followed than a node keeps, and the publisher makes no keyframe when it is asked.
// (Glimesh/janus-ftl-plugin issue 101: such keyframes are never whole.)
func TestLargeKeyframes(t *testing.T) {
	for _, bitrate := range someOf([]int{6_000_000, 25_000_000}) {
		for _, hop := range someOf([]bool{false, true}) {
			t.Run(fmt.Sprint(bitrate, " hop ", hop), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t)
					path := cdntest.Path{Delay: ms(5)}
					o := w.origin("origin", path, origin.Config{})
					at := o
					if hop {
						at = w.edge("edge", path, edge.Config{}, o)
					}
					p := w.publish(o, "live", path, cdntest.PublisherConfig{Video: &cdntest.Video{
						Bitrate: bitrate, KeyframeInterval: 4 * time.Second, KeyframeScale: 840_000 / (bitrate / 8 / 30), NoRequestedKeyframes: true,
					}})
					require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
					time.Sleep(5500 * time.Millisecond)
					v := w.view(at, "live", "viewer", path, cdntest.ViewerConfig{})
					time.Sleep(7 * time.Second)
					r := v.Report().Video()
					require.True(t, r.BeganWithKeyframe)
					require.NotEmpty(t, r.Frames)
					require.True(t, r.Frames[0].Key)
					require.Greater(t, r.Frames[0].Packets, 500)
					require.Zero(t, r.Undecodable())
					require.Zero(t, r.FaultCount+r.Missing+r.Partial, r.Faults)
					require.Less(t, r.First.Sub(v.Report().Connected), ms(100))
				})
			})
		}
	}
}
