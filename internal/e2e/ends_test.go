package delta_test

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/origin"
)

// Viewers learn at once that a stream or their session is over, by the DTLS
// close_notify that every WebRTC stack understands: those that have just connected,
// those whose DTLS is parked, and a crowd that ends at one moment.
func TestViewersLearnTheEndAtOnce(t *testing.T) {
	for _, c := range []struct {
		how     string
		watched time.Duration
		viewers int
		place   string
	}{
		{"the publisher stops", ms(100), 1, "origin"},
		{"the publisher stops", 30 * time.Second, 1, "origin"},
		{"the publisher stops", 30 * time.Second, 1, "three hops"},
		{"the publisher stops", 30 * time.Second, fewer(100), "hop"},
		{"the stream ends", 30 * time.Second, 1, "hop"},
		{"the edge closes", ms(100), 1, "hop"},
		{"the edge closes", 30 * time.Second, fewer(100), "hop"},
	} {
		t.Run(fmt.Sprintf("%s, %d viewers for %v at %s", c.how, c.viewers, c.watched, c.place), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				path := cdntest.Path{Delay: ms(5)}
				o := w.origin("origin", path, origin.Config{})
				at, _ := places[c.place](w, o)
				p := w.publish(o, "live", path, cdntest.PublisherConfig{Video: &cdntest.Video{Bitrate: 20_000, FPS: 5}})
				require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
				host := w.network.Host("viewers", path)
				all := make([]*cdntest.Viewer, c.viewers)
				var wg sync.WaitGroup
				for i := range all {
					wg.Go(func() {
						var err error
						all[i], err = cdntest.NewViewer(w.within(10*time.Second), cdntest.ViewerConfig{
							Net: host.Net(), Dialer: w.dialer, URL: at.url() + "/whep/live", Stream: "live",
						})
						if err != nil {
							t.Error(err)
							return
						}
						t.Cleanup(func() { _ = all[i].Close() })
					})
				}
				wg.Wait()
				require.False(t, t.Failed())
				for _, v := range all {
					require.NoError(t, v.WaitConnected(w.within(5*time.Second)))
				}
				time.Sleep(c.watched)
				over := time.Now()
				switch c.how {
				case "the publisher stops":
					require.NoError(t, p.Stop(w.within(time.Second)))
				case "the stream ends":
					sub, err := o.origin.Open(t.Context(), cdn.Request{Stream: "live"})
					require.NoError(t, err)
					sub.Close()
					go sub.Stream().End(nil)
				case "the edge closes":
					go func() { _ = at.edge.Close() }()
				}
				for _, v := range all {
					<-v.Done()
				}
				require.Less(t, time.Since(over), ms(500))
			})
		})
	}
}
