package origin_test

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/origin"
)

// Whoever closes an origin waits for all sessions: those that another call ends, and those
// whose stream ended ahead of it.
func TestEveryCloseOfAnOriginWaits(t *testing.T) {
	for name, ahead := range map[string]func(w *world){
		"another call": func(w *world) {
			go func() { _ = w.origin.Close() }()
			synctest.Wait()
		},
		"the stream's end": func(w *world) {
			go func() { _, _ = w.try("bob", cdn.TrackInfo{Codec: cdn.Codec{MimeType: "video/AV1"}}) }()
			synctest.Wait()
		},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, origin.Config{Takeover: origin.TakeoverAlways}, func(t *testing.T, w *world) {
				var told atomic.Bool // of the camera's end, to a handler that takes its time
				w.told = func(e cdn.Event) {
					if e, ok := e.(cdn.SessionEnded); ok && e.Subject == "ada" {
						time.Sleep(time.Second)
						told.Store(true)
					}
				}
				cdntest.Publish(t, cdntest.PublisherConfig{
					Net: w.network.Host("camera", cdntest.Path{}).Net(), Dialer: w.dialer, URL: "http://node/whip/live", Stream: "live",
					Credential: "ada", Video: &cdntest.Video{},
				})
				time.Sleep(time.Second)
				require.Len(t, w.node.Sessions(), 1)
				ahead(w)
				require.NoError(t, w.origin.Close())
				require.True(t, told.Load(), "Close returns while a session is ending")
				require.Empty(t, w.node.Sessions())
			})
		})
	}
}
