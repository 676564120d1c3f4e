package delta_test

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/webrtc/v4"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/origin"
)

// Settings of pion's that a node's user has changed are those of publishers, also where viewers
// are served by PeerConnections.
func TestTuneIsForPublishers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tuned atomic.Int32
		w := newWorld(t)
		o := w.origin("origin", cdntest.Path{}, origin.Config{}, func(c *cdn.Config) {
			c.Tune = func(*webrtc.SettingEngine, *webrtc.MediaEngine, *interceptor.Registry) error {
				tuned.Add(1)
				return nil
			}
		})
		w.serveViewers(o, o.origin, edge.Config{PeerConnections: true})
		p := w.publish(o, "live", cdntest.Path{}, cdntest.PublisherConfig{})
		require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
		require.EqualValues(t, 1, tuned.Load())
		v := w.view(o, "live", "viewer", cdntest.Path{}, cdntest.ViewerConfig{})
		require.NoError(t, v.WaitConnected(w.within(5*time.Second)))
		require.EqualValues(t, 1, tuned.Load())
	})
}
