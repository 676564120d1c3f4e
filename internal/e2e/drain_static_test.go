package delta_test

import (
	"context"
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

// A relay leaves a network whose directory says only where nodes are: what edges have
// through it comes from the next of their entries without a frame missing. The last one
// that is left keeps what it has until it may not stay any longer.
func TestARelayDrainsThatHasNoName(t *testing.T) {
	needLinks(t)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		o := w.origin("origin", cdntest.Path{Delay: ms(5)}, origin.Config{})
		r1 := w.relay("relay1", cdntest.Path{Delay: ms(5)}, o)
		r2 := w.relay("relay2", cdntest.Path{Delay: ms(20)}, o)
		var edges []*node
		for i := range 3 {
			edges = append(edges, w.edge(fmt.Sprintf("edge%d", i), cdntest.Path{Delay: ms(1)}, edge.Config{}, r1, r2))
		}
		p := w.publish(o, "live", cdntest.Path{}, cdntest.PublisherConfig{})
		require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
		var viewers []*cdntest.Viewer
		for i, e := range edges {
			viewers = append(viewers, w.view(e, "live", fmt.Sprintf("viewer %d", i), cdntest.Path{}, cdntest.ViewerConfig{}))
		}
		for _, v := range viewers {
			require.NoError(t, v.WaitFrames(w.within(10*time.Second), 60))
		}
		for _, turn := range [][2]*node{{r1, r2}, {r2, r1}} {
			leaves, stays := turn[0], turn[1]
			for _, e := range edges {
				require.Equal(t, leaves.url(), e.relay.Stats()[0].URL)
			}
			require.NoError(t, leaves.Drain(w.within(10*time.Second)), "nobody is left")
			for _, e := range edges {
				require.Equal(t, stays.url(), e.relay.Stats()[0].URL)
				require.Equal(t, []cdn.NodeID{"origin", stays.ID()}, pathOf(e, "live"))
			}
			time.Sleep(2 * time.Second)
			leaves.Undrain()
			time.Sleep(time.Second)
		}
		var shown []int
		for _, v := range viewers {
			for _, track := range v.Report().Tracks {
				require.Zero(t, track.FaultCount, "%s: %v", track.Kind, track.Faults)
				require.Zero(t, track.Missing+track.Duplicates, "%s", track.Kind)
			}
			shown = append(shown, len(v.Report().Video().Frames))
		}

		over := make(chan error)
		go func() { over <- r2.Drain(w.within(10 * time.Second)) }()
		time.Sleep(time.Second)
		require.ErrorIs(t, r1.Drain(w.within(5*time.Second)), context.DeadlineExceeded, "there is nowhere to go")
		require.NoError(t, <-over, "nobody came")
		for i, v := range viewers {
			require.GreaterOrEqual(t, len(v.Report().Video().Frames), shown[i]+5*30, "they stayed until then")
		}
		r1.Undrain()
		for i, v := range viewers {
			require.NoError(t, v.WaitFrames(w.within(10*time.Second), shown[i]+12*30), "and come back")
		}
		p.Stop(w.within(time.Second))
		for _, v := range viewers {
			<-v.Done()
		}
	})
}
