package delta_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/origin"
	"github.com/deltacdn/delta/relay"
)

// A pushing is a Push that runs.
type pushing struct {
	*relay.Push
	cancel context.CancelFunc
	over   chan error
}

func (w *world) push(n *node, c relay.PushConfig) *pushing {
	c.Source, c.Stream, c.Dialer = n.origin, "live", w.dialer
	p, err := relay.NewPush(n.Node, c)
	require.NoError(w.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	r := &pushing{Push: p, cancel: cancel, over: make(chan error, 1)}
	go func() { r.over <- p.Run(ctx) }()
	w.t.Cleanup(cancel)
	return r
}

// end ends the push and waits.
func (p *pushing) end() error {
	p.cancel()
	return <-p.over
}

// onPath runs f with a stream at an origin, from which losses are on the way.
func onPath(t *testing.T, loss float64, f func(t *testing.T, w *world, from *node, p *cdntest.Publisher)) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		from := w.origin("from", cdntest.Path{Delay: ms(10), Loss: loss}, origin.Config{})
		p := w.publish(from, "live", cdntest.Path{}, cdntest.PublisherConfig{})
		w.network.Between(w.network.Host("publisher of live", cdntest.Path{}), from.host, cdntest.Path{Delay: ms(1)})
		require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
		time.Sleep(time.Second)
		f(t, w, from, p)
	})
}

// A stream is sent on to the origin of another network, whose viewers lose nothing and
// whose requests for keyframes get to the publisher.
func TestPushToAnotherNetwork(t *testing.T) {
	for name, loss := range map[string]float64{"no loss": 0, "loss": 0.03} {
		t.Run(name, func(t *testing.T) {
			onPath(t, loss, func(t *testing.T, w *world, from *node, p *cdntest.Publisher) {
				to := w.origin("to", cdntest.Path{}, origin.Config{})
				push := w.push(from, relay.PushConfig{URL: "http://to/whip/live"})
				time.Sleep(time.Second)
				v := w.view(to, "live", "viewer", cdntest.Path{}, cdntest.ViewerConfig{})
				require.NoError(t, v.WaitFrames(w.within(5*time.Second), 60))
				before := requestsTo(p)
				for range 4 { // a request may be lost
					require.NoError(t, v.RequestKeyframe())
					time.Sleep(500 * time.Millisecond)
				}
				require.Greater(t, requestsTo(p), before)
				time.Sleep(5 * time.Second)
				for _, track := range v.Report().Tracks {
					require.Zero(t, track.FaultCount, track.Faults)
					require.Zero(t, track.Missing)
				}
				st := push.Stats()
				require.True(t, st.Connected)
				require.Equal(t, uint64(1), st.Sessions)
				require.Greater(t, st.Packets, uint64(800))
				require.Positive(t, st.RTT)
				if loss > 0 {
					require.Positive(t, st.Resent)
				}

				require.NoError(t, p.Stop(t.Context()))
				require.ErrorIs(t, <-push.over, cdn.ErrEnded)
				require.False(t, push.Stats().Connected)
				synctest.Wait()
				require.Empty(t, to.Stats().Streams, "the other network was told at once")
			})
		})
	}
}

// A WHIP server of another make gets all, asks again for what it has not got, and for
// keyframes.
func TestPushToAForeignServer(t *testing.T) {
	onPath(t, 0.03, func(t *testing.T, w *world, from *node, p *cdntest.Publisher) {
		f := w.foreign("foreign", cdntest.Path{}, "")
		push := w.push(from, relay.PushConfig{URL: "http://foreign/"})
		time.Sleep(3 * time.Second)
		before := requestsTo(p)
		for range 6 { // a request may be lost
			require.NoError(t, f.newest().askForKeyframe())
			time.Sleep(500 * time.Millisecond)
		}
		require.Greater(t, requestsTo(p), before)
		t.Logf("%+v", push.Stats())
		packets, missing := f.newest().got("video")
		require.Greater(t, packets, 500)
		require.LessOrEqual(t, missing, 3, "of %d, but for the last", packets)
		packets, _ = f.newest().got("audio")
		require.Greater(t, packets, 200)
		require.ErrorIs(t, push.end(), context.Canceled)
		<-f.newest().Done()
		require.ErrorIs(t, f.newest().Err(), cdn.ErrLeft)
	})
}

// A server that refuses, or is lost, is tried again, ever more slowly; one that will
// never take the stream is not.
func TestPushTriesAgain(t *testing.T) {
	onPath(t, 0, func(t *testing.T, w *world, from *node, _ *cdntest.Publisher) {
		f := w.foreign("foreign", cdntest.Path{}, "")
		f.setRefuse(&cdn.Error{Op: "publish", Err: cdn.ErrOverLimit})
		push := w.push(from, relay.PushConfig{URL: "http://foreign/"})
		time.Sleep(10 * time.Second)
		st := push.Stats()
		require.ErrorIs(t, st.Err, cdn.ErrOverLimit)
		require.False(t, st.Connected)
		require.GreaterOrEqual(t, st.Attempts, uint64(4))
		require.LessOrEqual(t, st.Attempts, uint64(8))
		f.setRefuse(nil)
		time.Sleep(20 * time.Second)
		require.True(t, push.Stats().Connected)

		f.host.Cut() // without a word
		time.Sleep(11 * time.Second)
		require.False(t, push.Stats().Connected)
		require.ErrorIs(t, push.Stats().Err, cdn.ErrPeerLost)
		f.host.Heal()
		time.Sleep(20 * time.Second)
		require.True(t, push.Stats().Connected)
		require.GreaterOrEqual(t, push.Stats().Sessions, uint64(2))

		f.setRefuse(&cdn.Error{Op: "publish", Err: cdn.ErrForbidden})
		f.newest().End(cdn.ErrClosed)
		require.ErrorIs(t, <-push.over, cdn.ErrForbidden)
	})
}

// A server that takes each session and hangs up at once is tried ever more slowly, too.
func TestPushToAServerThatHangsUp(t *testing.T) {
	onPath(t, 0, func(t *testing.T, w *world, from *node, _ *cdntest.Publisher) {
		f := w.foreign("foreign", cdntest.Path{}, "")
		push := w.push(from, relay.PushConfig{URL: "http://foreign/"})
		for range 600 {
			time.Sleep(100 * time.Millisecond)
			if push.Stats().Connected {
				f.newest().End(cdn.ErrClosed)
			}
		}
		st := push.Stats()
		require.GreaterOrEqual(t, st.Sessions, uint64(4))
		require.LessOrEqual(t, st.Sessions, uint64(12))
	})
}

func TestPushOfNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		from := w.origin("from", cdntest.Path{}, origin.Config{})
		require.ErrorIs(t, <-w.push(from, relay.PushConfig{URL: "http://nobody/"}).over, cdn.ErrNotFound)
		_, err := relay.NewPush(from.Node, relay.PushConfig{Source: from.origin, Stream: "live"})
		require.ErrorIs(t, err, cdn.ErrInvalid)
		_, err = relay.NewPush(from.Node, relay.PushConfig{Stream: "live", URL: "http://x/"})
		require.ErrorIs(t, err, cdn.ErrInvalid)
	})
}

// requestsTo returns how often a publisher of one layer was asked for a keyframe.
func requestsTo(p *cdntest.Publisher) int { return p.Report().Video[0].KeyframeRequests() }
