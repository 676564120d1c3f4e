package delta_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/origin"
	"github.com/deltacdn/delta/relay"
)

// fetchByWHEP has a node fetch from another without links.
func (w *world) fetchByWHEP(n, from *node) {
	var err error
	n.relay, err = relay.New(n.Node, relay.Config{
		Directory: cdn.Static(from.url()), Fetcher: relay.NewWHEP(n.Node, relay.WHEPConfig{Dialer: w.dialer}),
	})
	require.NoError(w.t, err)
}

// What no parser understands, since it is encrypted, is held back until it is clear
// that no keyframe can be recognised. The first node finds that out, and tells the
// others: a viewer behind any number of them begins at once.
func TestEncryptedPayloadsStartAtOnceBehindHops(t *testing.T) {
	for name, fetch := range map[string]func(w *world, n, from *node){
		"links": func(w *world, n, from *node) { w.fetch(n, from) },
		"WHEP":  func(w *world, n, from *node) { w.fetchByWHEP(n, from) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				path := cdntest.Path{Delay: ms(5)}
				o := w.origin("origin", path, origin.Config{})
				last := o
				for _, name := range []string{"near", "far"} {
					n := w.node(name, path)
					fetch(w, n, last)
					w.serveNodes(n, n.relay)
					last = n
				}
				e := w.node("edge", path)
				fetch(w, e, last)
				w.serveViewers(e, e.relay, edge.Config{})
				video := videoTrack(webrtc.MimeTypeVP8)
				_, err := rawPublish(t, w, o, "live", w.network.Host("publisher", path), nil, nil, video)
				require.NoError(t, err)
				begun := time.Now()
				var viewer *rawViewer
				var joined time.Time
				for n := 0; time.Since(begun) < 7*time.Second; n++ {
					time.Sleep(time.Until(begun.Add(time.Duration(n) * time.Second / 30)))
					payload := make([]byte, 100)
					for i := range payload {
						payload[i] = 0xff
					}
					payload[4], payload[5] = byte(n>>8), byte(n)
					_ = video.send(rtp.Header{SequenceNumber: uint16(n), Timestamp: uint32(n * 3000), Marker: true}, payload)
					if viewer == nil && time.Since(begun) > 5*time.Second {
						joined = time.Now()
						viewer, err = rawView(t, w, e, "live", w.network.Host("viewer", path), nil, nil, webrtc.RTPCodecTypeVideo)
						require.NoError(t, err)
					}
				}
				all := viewer.packets("video")
				require.NotEmpty(t, all)
				require.Less(t, all[0].at.Sub(joined), time.Second)
				require.Greater(t, pictureNumber(all[0]), 140, "it begins with what is live")
				facts := e.Stats().Streams[0].Tracks[0].Layers[0]
				require.Positive(t, facts.Keyframes)
			})
		})
	}
}
