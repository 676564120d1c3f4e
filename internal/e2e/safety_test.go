package delta_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/origin"
	"github.com/deltacdn/delta/signal"
)

// logBuffer keeps what is logged.
type logBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

// lines returns what was logged at WARN or above.
func (b *logBuffer) lines() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.FieldsFunc(b.text.String(), func(r rune) bool { return r == '\n' })
}

func (b *logBuffer) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(b, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// A node that another one refuses does not blame its viewers, however many hops
// away, and its operator reads why, once, and not for each viewer.
func TestARefusedNodeDoesNotBlameItsViewers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		path := cdntest.Path{Delay: ms(5)}
		secret := func(s string) func(*cdn.Config) {
			return func(c *cdn.Config) { c.Trust.Secret = s }
		}
		o := w.origin("origin", path, origin.Config{}, secret("the right one"))
		p := w.publish(o, "live", path, cdntest.PublisherConfig{})
		require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
		var log logBuffer
		r := w.node("relay", path, secret("the wrong one"), func(c *cdn.Config) { c.Logger = log.logger() })
		w.fetch(r, o)
		w.serveNodes(r, r.relay)
		w.serveViewers(r, r.relay, edge.Config{})
		e := w.node("edge", path, secret("the wrong one"))
		w.fetch(e, r)
		w.serveViewers(e, e.relay, edge.Config{AnswerAfter: time.Second})
		for _, n := range []*node{r, e, r} {
			err := w.refusal(n, "live")
			require.ErrorIs(t, err, cdn.ErrUpstream, n.name)
			require.NotErrorIs(t, err, cdn.ErrUnauthorized)
			time.Sleep(2 * time.Second)
		}
		warnings := 0
		for _, line := range log.lines() {
			if strings.Contains(line, "url=http://origin") {
				warnings++
				if peerConnections {
					require.Contains(t, line, "cause=node-refuses")
				} else {
					require.Contains(t, line, "cause=wrong-secret")
					require.Contains(t, line, "node relay is not known here")
				}
			}
		}
		require.Equal(t, 1, warnings, log.lines())
	})
}

// addressed is a dialer whose signaling comes from an address, as HTTP's does.
type addressed struct {
	signal.Dialer
	from string
}

func (a addressed) Dial(ctx context.Context, url string, o signal.Offer) (signal.RemoteSession, error) {
	o.RemoteAddr = a.from
	return a.Dialer.Dial(ctx, url, o)
}

// recordedOffer returns a recorded offer, to play or to publish.
func recordedOffer(t *testing.T, name string, publish bool) string {
	b, err := os.ReadFile("../viewer/testdata/offers/" + name)
	require.NoError(t, err)
	if publish {
		return strings.ReplaceAll(string(b), "a=recvonly", "a=sendonly")
	}
	return string(b)
}

// One address that offers and offers, to play and to publish, and never connects,
// keeps nobody else out: those who come from elsewhere see the stream within a
// second, publishers get theirs, and those who watch lose nothing.
func TestAFloodOfOffersKeepsNobodyElseOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		path := cdntest.Path{Delay: ms(10)}
		o := w.origin("origin", path, origin.Config{}, func(c *cdn.Config) {
			c.Limits = cdn.Limits{Sessions: 200, HalfOpen: 100, Streams: 20}
		})
		p := w.publish(o, "live", path, cdntest.PublisherConfig{})
		require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
		running := w.view(o, "live", "running", path, cdntest.ViewerConfig{})
		require.NoError(t, running.WaitFrames(w.within(5*time.Second), 30))

		flooding, stop := context.WithCancel(t.Context())
		var flood sync.WaitGroup
		play, publish := recordedOffer(t, "chromium-video-audio.sdp", false), recordedOffer(t, "chromium-video-audio.sdp", true)
		flood.Go(func() {
			for n := 0; flooding.Err() == nil; n++ {
				_, _ = o.edge.Offer(flooding, signal.Offer{Stream: "live", SDP: play, RemoteAddr: "203.0.113.1:1"})
				if n%8 == 0 {
					_, _ = o.origin.Offer(flooding, signal.Offer{Stream: cdn.StreamID(fmt.Sprint("flood", n)), SDP: publish, RemoteAddr: "203.0.113.1:1"})
				}
				time.Sleep(ms(4))
			}
		})
		time.Sleep(2*time.Second + ms(2)) // every place that the flood can take is taken, and nobody offers just now
		synctest.Wait()
		half := make(map[cdn.Action]int)
		for _, s := range o.Sessions() {
			if s.HalfOpen && s.RemoteAddr != "" {
				half[s.Action]++
			}
		}
		require.Equal(t, map[cdn.Action]int{cdn.ActionPlay: 90, cdn.ActionPublish: 10}, half)
		for i := range 10 {
			begun := time.Now()
			v, err := cdntest.NewViewer(w.within(5*time.Second), cdntest.ViewerConfig{
				Net: w.network.Host(fmt.Sprint("viewer", i), path).Net(), Dialer: addressed{w.dialer, "192.0.2.1:1"},
				URL: o.url() + "/whep/live", Stream: "live",
			})
			require.NoError(t, err)
			require.NoError(t, v.WaitFrames(w.within(5*time.Second), 1))
			require.Less(t, time.Since(begun), time.Second)
			if i%2 == 0 {
				defer func() { require.NoError(t, v.Close()) }()
			} else {
				require.NoError(t, v.Close())
			}
			another := w.publish(o, cdn.StreamID(fmt.Sprint("another", i)), path, cdntest.PublisherConfig{})
			require.NoError(t, another.WaitConnected(w.within(5*time.Second)))
			require.NoError(t, another.Stop(w.within(5*time.Second)))
		}
		stop()
		flood.Wait()
		r := running.Report().Video()
		require.Zero(t, r.FaultCount+r.Missing+r.Undecodable(), r.Faults)
		require.Less(t, r.Gap(), ms(100))
		require.LessOrEqual(t, o.Stats().Sessions, 100+10+7+1)
	})
}

// Whoever holds a session can have ICE begin anew a few times a minute, and not in
// a storm, whatever serves the session.
func TestICERestartsAreFew(t *testing.T) {
	for name, c := range map[string]edge.Config{"own session": {}, "PeerConnection": {PeerConnections: true}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				o := w.origin("origin", cdntest.Path{}, origin.Config{})
				p := w.publish(o, "live", cdntest.Path{}, cdntest.PublisherConfig{})
				require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
				c.Source = o.origin
				e, err := edge.New(o.Node, c)
				require.NoError(t, err)
				s, err := e.Offer(t.Context(), signal.Offer{Stream: "live", SDP: recordedOffer(t, "chromium-video-audio.sdp", false)})
				require.NoError(t, err)
				restart := func(n int) error {
					_, err := s.Patch(t.Context(), fmt.Sprintf("a=ice-ufrag:abc%d\r\na=ice-pwd:0123456789012345678901\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n", n))
					return err
				}
				for n := range 5 {
					require.NoError(t, restart(n))
				}
				for n := range 100 {
					err := restart(100 + n)
					require.ErrorIs(t, err, cdn.ErrOverLimit)
					var e *cdn.Error
					require.ErrorAs(t, err, &e)
					require.NotZero(t, e.RetryAfter)
				}
				require.NoError(t, s.Close())
			})
		})
	}
}
