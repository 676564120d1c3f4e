package delta_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/internal/bubble"
	"github.com/deltacdn/delta/origin"
	"github.com/deltacdn/delta/relay"
)

// needLinks skips what PeerConnections between nodes cannot do.
func needLinks(t *testing.T) {
	if peerConnections {
		t.Skip("a test of links, which this run is without")
	}
}

// On a link that stands, the first packet of a stream is here one round trip
// after it was asked for, and it is the newest keyframe, which the publisher was
// not asked for.
func TestSubscribeOnAWarmLinkTakesOneRoundTrip(t *testing.T) {
	needLinks(t)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		o := w.origin("origin", cdntest.Path{}, origin.Config{})
		e := w.edge("edge", cdntest.Path{}, edge.Config{}, o)
		w.network.Between(o.host, e.host, cdntest.Path{Delay: ms(25)})
		for _, id := range []cdn.StreamID{"warm", "live"} {
			p := w.publish(o, id, cdntest.Path{}, cdntest.PublisherConfig{Video: &cdntest.Video{KeyframeInterval: 2 * time.Second}})
			require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
		}
		time.Sleep(3 * time.Second)
		warm, err := e.relay.Open(t.Context(), cdn.Request{Stream: "warm"})
		require.NoError(t, err)
		defer warm.Close()
		require.NoError(t, warm.Stream().Ready(w.within(5*time.Second)))
		time.Sleep(time.Second)
		asked := keyframesAsked(o, "live")

		begun := time.Now()
		sub, err := e.relay.Open(t.Context(), cdn.Request{Stream: "live"})
		require.NoError(t, err)
		defer sub.Close()
		require.NoError(t, sub.Stream().Ready(w.within(5*time.Second)))
		require.Equal(t, ms(50), time.Since(begun), "the answer")
		synctest.Wait()
		var video *cdn.Layer
		for _, track := range sub.Stream().Tracks() {
			if track.Info().Kind == cdn.Video {
				video = track.Layers()[0]
			}
		}
		require.NotNil(t, video.Newest(), "the first packets come with it")
		require.Equal(t, ms(50), video.Newest().Arrival.Sub(begun))
		require.Positive(t, video.Stats().Keyframes, "from a keyframe on")
		require.Equal(t, asked, keyframesAsked(o, "live"), "the publisher need not make one")
	})
}

func keyframesAsked(n *node, id cdn.StreamID) (asked uint64) {
	for _, s := range n.Node.Stats().Streams {
		for _, t := range s.Tracks {
			for _, l := range t.Layers {
				if s.Stream == id {
					asked += l.KeyframeRequestsSent
				}
			}
		}
	}
	return asked
}

// gap returns the longest time without a decodable frame: between two in a row, or
// until now.
func gap(r cdntest.TrackReport, since time.Time) (longest time.Duration) {
	last := since
	for _, f := range r.Frames {
		if !f.Decodable {
			continue
		}
		if f.Done.After(since) {
			longest = max(longest, f.Done.Sub(last))
		}
		last = f.Done
	}
	return max(longest, time.Since(last))
}

// kill makes a node vanish, as SIGKILL does.
func (w *world) kill(n *node) {
	n.host.Cut()
	w.dialer.Handle(n.url()+relay.Prefix, nil)
}

// An edge with two relays above it loses one without a word, or with one. The
// viewer sees a short gap at most, of which nothing is to be negotiated, and is
// as close to the publisher as before. soak_long_test.go does it more often.
func TestFailover(t *testing.T) {
	needLinks(t)
	testFailovers(t, fewer(12))
}

// testFailovers does it at many moments, all over the time between two keyframes,
// two frames, and two questions whether the relay is still there.
func testFailovers(t *testing.T, moments int) {
	for name, tc := range map[string]struct {
		lose func(*world, *node)
		gap  time.Duration
	}{
		"killed": {func(w *world, n *node) { w.kill(n) }, ms(800)},
		"ended": {func(w *world, n *node) {
			require.NoError(w.t, n.Close())
			w.dialer.Handle(n.url()+relay.Prefix, nil)
		}, ms(300)}, // the next one catches up meanwhile, and nothing is shown twice
	} {
		t.Run(name, func(t *testing.T) {
			gaps := make([]time.Duration, moments)
			for i := range gaps {
				after := 2*time.Second*time.Duration(i)/time.Duration(moments) + ms(7*i)
				synctest.Test(t, func(t *testing.T) { gaps[i] = testFailover(t, tc.lose, after) })
			}
			slices.Sort(gaps)
			t.Logf("gaps in decodable frames: p50 %v, p99 %v, worst %v", gaps[moments/2], gaps[moments*99/100], gaps[moments-1])
			require.LessOrEqual(t, gaps[moments*99/100], tc.gap)
		})
	}
}

func testFailover(t *testing.T, lose func(*world, *node), after time.Duration) time.Duration {
	w := newWorld(t)
	hop := cdntest.Path{Delay: ms(25)}
	o := w.origin("origin", cdntest.Path{}, origin.Config{})
	one, two := w.relay("one", cdntest.Path{}, o), w.relay("two", cdntest.Path{}, o)
	e := w.edge("edge", cdntest.Path{}, edge.Config{}, one, two)
	for _, r := range []*node{one, two} {
		w.network.Between(o.host, r.host, hop)
		w.network.Between(r.host, e.host, hop)
	}
	p := w.publish(o, "live", cdntest.Path{Delay: ms(5)}, cdntest.PublisherConfig{Video: &cdntest.Video{Bitrate: 400_000, KeyframeInterval: 2 * time.Second}})
	require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
	v := w.view(e, "live", "viewer", cdntest.Path{Delay: ms(5)}, cdntest.ViewerConfig{})
	require.NoError(t, v.WaitFrames(w.within(10*time.Second), 90))
	time.Sleep(after)
	require.Equal(t, "http://one", e.relay.Stats()[0].URL)
	require.Equal(t, "http://two", e.relay.Stats()[0].Standby)
	lost := time.Now()
	lose(w, one)
	time.Sleep(5 * time.Second)
	require.Equal(t, "http://two", e.relay.Stats()[0].URL)
	r := v.Report().Video()
	require.Zero(t, r.FaultCount, r.Faults)
	require.LessOrEqual(t, r.TimestampJumps, 1, "from what is repeated to a newer keyframe, perhaps")
	last := r.Frames[len(r.Frames)-1]
	require.True(t, last.Decodable)
	require.Less(t, time.Since(last.Done), ms(100), "it plays")
	require.Less(t, last.Latency(), ms(100), "no delay stays")
	// What the viewer makes of the timestamps is still when it was captured.
	before := r.Frames[60]
	drift := last.Sent.Sub(before.Sent) - time.Duration(last.Timestamp-before.Timestamp)*time.Second/90000
	require.InDelta(t, 0, drift, float64(ms(40)))
	longest := gap(r, lost)
	r.Frames = r.Frames[len(r.Frames)-60:]
	requireSync(t, r, 90000)
	return longest
}

// Two nodes that dial each other at one moment end up with one link.
func TestGlare(t *testing.T) {
	needLinks(t)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		hop := cdntest.Path{Delay: ms(25)}
		a, b := w.node("a", cdntest.Path{}), w.node("b", cdntest.Path{})
		w.network.Between(a.host, b.host, hop)
		for _, n := range []*node{a, b} {
			var err error
			n.origin, err = origin.New(n.Node, origin.Config{})
			require.NoError(t, err)
			w.dialer.Handle(n.url()+"/whip/", n.origin)
			w.serveNodes(n, n.origin)
		}
		for n, other := range map[*node]*node{a: b, b: a} {
			var err error
			n.relay, err = relay.New(n.Node, relay.Config{
				Directory: struct{ cdn.Directory }{cdn.Static(other.url())}, // which keeps no links ready
				Fetcher:   w.fetcher(n),
			})
			require.NoError(t, err)
		}
		for n, id := range map[*node]cdn.StreamID{a: "of/a", b: "of/b"} {
			p := w.publish(n, id, cdntest.Path{}, cdntest.PublisherConfig{})
			require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
		}
		var subs []*cdn.Subscription
		for n, id := range map[*node]cdn.StreamID{a: "of/b", b: "of/a"} {
			sub, err := n.relay.Open(t.Context(), cdn.Request{Stream: id})
			require.NoError(t, err)
			subs = append(subs, sub)
		}
		for _, sub := range subs {
			require.NoError(t, sub.Stream().Ready(w.within(5*time.Second)))
			defer sub.Close()
		}
		time.Sleep(10 * time.Second)
		for _, n := range []*node{a, b} {
			links := relay.Links(n.Node)
			require.Len(t, links, 1)
			require.Len(t, links[0].Fetched, 1)
			require.Len(t, links[0].Served, 1)
			require.InDelta(t, ms(50), links[0].RTT, float64(ms(2)))
		}
	})
}

// A node that was started anew, under its old name, replaces what it had.
func TestRestartedNodeLinksAnew(t *testing.T) {
	needLinks(t)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		o := w.origin("origin", cdntest.Path{Delay: ms(5)}, origin.Config{})
		p := w.publish(o, "live", cdntest.Path{}, cdntest.PublisherConfig{})
		require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
		host := w.network.Host("edge", cdntest.Path{Delay: ms(5)})
		open := func(n *cdn.Node) *cdn.Stream {
			f, err := relay.NewLink(n, relay.LinkConfig{Dialer: w.dialer})
			require.NoError(t, err)
			r, err := relay.New(n, relay.Config{Directory: cdn.Static("http://origin"), Fetcher: f})
			require.NoError(t, err)
			sub, err := r.Open(context.Background(), cdn.Request{Stream: "live"})
			require.NoError(t, err)
			require.NoError(t, sub.Stream().Ready(w.within(5*time.Second)))
			return sub.Stream()
		}
		listen := func(port uint16) *cdn.Node {
			n, err := cdn.Listen(cdn.Config{ID: "edge", Addr: fmt.Sprintf("%s:%d", host.IP(), port), Net: host.Net()})
			require.NoError(t, err)
			return n
		}
		old := listen(7000)
		open(old)
		host.Cut()
		require.NoError(t, old.Close())
		host.Heal()
		again := listen(7000)
		s := open(again)
		time.Sleep(10 * time.Second)
		require.NoError(t, s.Err())
		require.Len(t, relay.Links(o.Node), 1)
		require.NoError(t, again.Close())
	})
}

// Subscriptions leave nothing on the link that they were made on.
// soak_long_test.go makes ten thousand.
func TestALinkDoesNotGrow(t *testing.T) {
	needLinks(t)
	testSubscriptions(t, fewer(300))
}

func testSubscriptions(t *testing.T, n int) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		o := w.origin("origin", cdntest.Path{Delay: ms(1)}, origin.Config{})
		e := w.node("edge", cdntest.Path{Delay: ms(1)})
		var err error
		e.relay, err = relay.New(e.Node, relay.Config{Directory: cdn.Static(o.url()), Fetcher: w.fetcher(e), Linger: -1})
		require.NoError(t, err)
		p := w.publish(o, "live", cdntest.Path{}, cdntest.PublisherConfig{Video: &cdntest.Video{Bitrate: 100_000, FPS: 10}})
		require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
		time.Sleep(time.Second)
		once := func() {
			sub, err := e.relay.Open(t.Context(), cdn.Request{Stream: "live"})
			require.NoError(t, err)
			require.NoError(t, sub.Stream().Ready(t.Context()))
			sub.Close()
			time.Sleep(ms(5))
			for len(w.events) > 0 {
				<-w.events
			}
		}
		for range 100 {
			once()
		}
		time.Sleep(time.Minute) // a stopped timer holds what it would call until it is due
		goroutines, heap := bubble.Goroutines(), heapInUse()
		for range n {
			once()
		}
		time.Sleep(time.Minute)
		left := bubble.Goroutines()
		t.Logf("%d goroutines before and %d after, heap %d and %d KiB", goroutines, left, heap>>10, heapInUse()>>10)
		require.LessOrEqual(t, left, goroutines+2)
		require.Less(t, heapInUse(), heap+1<<20)
		require.Len(t, relay.Links(e.Node), 1)
		require.Empty(t, relay.Links(e.Node)[0].Fetched)
		require.Empty(t, o.server.Serving())
	})
}

// A point of entry that is lost costs who asks for a stream nothing: another is
// asked first, until it is back.
func TestALostEntryIsAskedLast(t *testing.T) {
	needLinks(t)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		o := w.origin("origin", cdntest.Path{}, origin.Config{})
		one, two := w.relay("one", cdntest.Path{}, o), w.relay("two", cdntest.Path{}, o)
		e := w.node("edge", cdntest.Path{})
		w.fetch(e, one, two)
		require.False(t, e.relay.Ready())
		for _, r := range []*node{one, two} {
			w.network.Between(o.host, r.host, cdntest.Path{Delay: ms(10)})
			w.network.Between(r.host, e.host, cdntest.Path{Delay: ms(10)})
		}
		p := w.publish(o, "live", cdntest.Path{}, cdntest.PublisherConfig{})
		require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
		ask := func() (url string, took time.Duration) {
			begun := time.Now()
			sub, err := e.relay.Open(t.Context(), cdn.Request{Stream: "live"})
			require.NoError(t, err)
			require.NoError(t, sub.Stream().Ready(w.within(30*time.Second)))
			took, url = time.Since(begun), e.relay.Stats()[0].URL
			sub.Close()
			time.Sleep(20 * time.Second) // what nobody wants goes
			return url, took
		}
		time.Sleep(time.Second)
		require.True(t, e.relay.Ready())
		url, _ := ask()
		require.Equal(t, one.url(), url)
		one.host.Cut()
		time.Sleep(20 * time.Second)
		for range 3 {
			url, took := ask()
			require.Equal(t, two.url(), url)
			require.Less(t, took, ms(100))
		}
		require.True(t, e.relay.Ready())
		two.host.Cut()
		time.Sleep(10 * time.Second)
		require.False(t, e.relay.Ready())
		one.host.Heal()
		two.host.Heal()
		time.Sleep(20 * time.Second)
		url, _ = ask()
		require.Equal(t, one.url(), url)
	})
}
