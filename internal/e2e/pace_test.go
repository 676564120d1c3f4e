package delta_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/origin"
)

// Keyframes of 120 packets go to a viewer whose router has room for 20: all of each comes,
// for it leaves as fast as the path is taken to carry. An edge that holds nothing back loses
// most of them.
func TestLargeKeyframesIntoANarrowPath(t *testing.T) {
	skipPeerConnections(t)
	for start, paced := range map[int]bool{0: true, -1: false} {
		t.Run(fmt.Sprint("paced ", paced), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				o := w.origin("origin", cdntest.Path{}, origin.Config{})
				e := w.edge("edge", cdntest.Path{}, edge.Config{
					Adapt: func(cdn.StreamID) edge.Adapt { return edge.Adapt{StartBitrate: start} },
				}, o)
				p := w.publish(o, "live", cdntest.Path{}, cdntest.PublisherConfig{
					Video: &cdntest.Video{Bitrate: 1_200_000, KeyframeInterval: 4 * time.Second, KeyframeScale: 40}, Audio: &cdntest.Audio{},
				})
				require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
				time.Sleep(3 * time.Second)
				narrow := cdntest.Path{Delay: ms(50), Rate: 5_000_000, Queue: time.Second, QueueBytes: 20 * 1270}
				host := w.network.Host("viewer", narrow)
				v := w.view(e, "live", "viewer", narrow, cdntest.ViewerConfig{TransportFeedback: true})
				time.Sleep(10 * time.Second)
				lost := w.network.Traffic(e.host, host).QueueFull
				r := v.Report()
				t.Logf("%d packets lost; %d frames, first %v; sound gap %v", lost, len(r.Video().Frames), r.Video().Frames[0].Packets, r.Audio().Gap())
				if !paced {
					require.Greater(t, lost, 80)
					return
				}
				require.Zero(t, lost)
				require.GreaterOrEqual(t, r.Video().Frames[0].Packets, 120)
				require.Zero(t, r.Video().Undecodable())
				require.LessOrEqual(t, r.Audio().Gap(), ms(60)) // 20 ms, and up to 40 ms of a full queue
			})
		})
	}
}
