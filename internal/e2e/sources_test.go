package delta_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/origin"
)

// A Source may be another node's of the same process: viewers and other nodes get
// its streams from the port of the node that they have asked.
func TestASourceOfAnotherNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		path := cdntest.Path{Delay: ms(5)}
		o := w.origin("origin", path, origin.Config{})
		p := w.publish(o, "live", path, cdntest.PublisherConfig{})
		require.NoError(t, p.WaitConnected(w.within(5*time.Second)))

		front := w.node("front", path)
		w.serveViewers(front, o.origin, edge.Config{})
		w.serveNodes(front, o.origin)
		far := w.edge("far", path, edge.Config{}, front)
		viewers := []*cdntest.Viewer{
			w.view(o, "live", "beside", path, cdntest.ViewerConfig{}),
			w.view(front, "live", "in front", path, cdntest.ViewerConfig{}),
			w.view(front, "live", "another in front", path, cdntest.ViewerConfig{}),
			w.view(far, "live", "behind a hop", path, cdntest.ViewerConfig{}),
		}
		for _, v := range viewers {
			require.NoError(t, v.WaitConnected(w.within(5*time.Second)))
		}
		time.Sleep(5 * time.Second)
		for _, v := range viewers {
			require.Len(t, v.Report().Tracks, 2)
			for _, track := range v.Report().Tracks {
				require.Zero(t, track.FaultCount, track.Faults)
				require.Zero(t, track.Missing)
				require.Greater(t, len(track.Frames), 100)
			}
		}
		require.NoError(t, front.Close())
		front.Node = nil
		before := len(viewers[0].Report().Video().Frames)
		time.Sleep(time.Second)
		require.Greater(t, len(viewers[0].Report().Video().Frames), before+25, "the stream is the other node's")
	})
}
