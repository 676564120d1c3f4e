package delta_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/origin"
	"github.com/deltacdn/delta/relay"
	"github.com/deltacdn/delta/signal"
)

// A fetch starts with the first viewer and ends a linger after the last; until
// then whoever comes shares it, and afterwards no media crosses the hop.
func TestFetchFollowsDemand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		path := cdntest.Path{Delay: ms(5)}
		o := w.origin("origin", path, origin.Config{})
		e := w.edge("edge", path, edge.Config{}, o)
		p := w.publish(o, "live", path, cdntest.PublisherConfig{})
		require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
		time.Sleep(5 * time.Second)
		require.Less(t, w.network.Traffic(o.host, e.host).SentBytes, 10_000, "nobody watches")

		v := w.view(e, "live", "viewer", path, cdntest.ViewerConfig{})
		require.NoError(t, v.WaitFrames(w.within(5*time.Second), 30))
		require.NoError(t, v.Close())
		time.Sleep(4 * time.Second)
		require.Len(t, e.Node.Stats().Streams, 1, "it lingers")
		v = w.view(e, "live", "second", path, cdntest.ViewerConfig{})
		require.NoError(t, v.WaitFrames(w.within(5*time.Second), 30))
		time.Sleep(10 * time.Second)
		require.Len(t, e.Node.Stats().Streams, 1, "somebody came in time")
		require.NoError(t, v.Close())
		time.Sleep(6 * time.Second)
		require.Empty(t, e.Node.Stats().Streams)
		require.Empty(t, o.server.Serving())
		before := w.network.Traffic(o.host, e.host)
		time.Sleep(time.Minute)
		after := w.network.Traffic(o.host, e.host)
		require.Less(t, after.SentBytes-before.SentBytes, 20_000, "signs of life, and no media")
		if peerConnections {
			require.Equal(t, before.Sent, after.Sent)
		}
	})
}

// countingFetcher fails each fetch and counts them.
type countingFetcher struct {
	err error
	n   atomic.Int32
}

func (f *countingFetcher) Fetch(context.Context, cdn.Entry, cdn.Request, *cdn.Stream) error {
	f.n.Add(1)
	return f.err
}

func TestFailuresAreRememberedBriefly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		n := w.node("node", cdntest.Path{})
		f := &countingFetcher{err: cdn.ErrNotFound}
		r, err := relay.New(n.Node, relay.Config{Directory: cdn.Static("http://o"), Fetcher: f})
		require.NoError(t, err)
		ask := func() error {
			sub, err := r.Open(context.Background(), cdn.Request{Stream: "live"})
			if err != nil {
				return err
			}
			defer sub.Close()
			return sub.Stream().Ready(context.Background())
		}
		for range 100 {
			require.ErrorIs(t, ask(), cdn.ErrNotFound)
		}
		require.Equal(t, int32(1), f.n.Load())
		time.Sleep(1100 * time.Millisecond)
		require.ErrorIs(t, ask(), cdn.ErrNotFound)
		require.Equal(t, int32(2), f.n.Load())

		_, err = r.Open(context.Background(), cdn.Request{Stream: "../x"})
		require.ErrorIs(t, err, cdn.ErrInvalid)
		_, err = r.Open(context.Background(), cdn.Request{Stream: "live", Path: []cdn.NodeID{"node"}})
		require.ErrorIs(t, err, cdn.ErrLoop)
		_, err = relay.New(n.Node, relay.Config{})
		require.ErrorIs(t, err, cdn.ErrInvalid)
		require.NoError(t, r.Close())
		_, err = r.Open(context.Background(), cdn.Request{Stream: "live"})
		require.ErrorIs(t, err, cdn.ErrClosed)
	})
}

// hangingFetcher asks for ever.
type hangingFetcher struct{ asked chan cdn.NodeID }

func (f hangingFetcher) Fetch(ctx context.Context, from cdn.Entry, _ cdn.Request, _ *cdn.Stream) error {
	f.asked <- from.Node
	<-ctx.Done()
	return ctx.Err()
}

// A node that is being asked for a stream, and asks for it here, is told so: it
// must not join the fetch that waits for it.
func TestWhoIsAskedDoesNotWaitForItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		n := w.node("node", cdntest.Path{})
		d := cdn.NewMemory()
		require.NoError(t, d.Put(t.Context(), cdn.Entry{Stream: "live", Node: "other", URL: "http://other", Publication: "p"}, time.Hour))
		f := hangingFetcher{asked: make(chan cdn.NodeID, 9)}
		r, err := relay.New(n.Node, relay.Config{Directory: d, Fetcher: f, Linger: -1})
		require.NoError(t, err)
		first, err := r.Open(t.Context(), cdn.Request{Stream: "live"})
		require.NoError(t, err)
		require.Equal(t, cdn.NodeID("other"), <-f.asked)
		_, err = r.Open(t.Context(), cdn.Request{Stream: "live", Path: []cdn.NodeID{"viewers", "other"}})
		require.ErrorIs(t, err, cdn.ErrLoop)
		third, err := r.Open(t.Context(), cdn.Request{Stream: "live", Path: []cdn.NodeID{"third"}})
		require.NoError(t, err)
		require.Same(t, first.Stream(), third.Stream())

		first.Close()
		third.Close()
		again, err := r.Open(t.Context(), cdn.Request{Stream: "live"})
		require.NoError(t, err)
		require.NotSame(t, first.Stream(), again.Stream(), "without a linger, what nobody wants is over at once")
		<-f.asked
		again.Close()
	})
}

// stuck is a directory and a dialer that never answer.
type stuck struct{ cdn.Directory }

func (stuck) Find(ctx context.Context, _ cdn.StreamID) ([]cdn.Entry, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func (stuck) Dial(ctx context.Context, _ string, _ signal.Offer) (signal.RemoteSession, error) {
	<-ctx.Done()
	return nil, &cdn.Error{Op: "dial", Err: cdn.ErrTimeout}
}

// Every wait has an end: a directory or a node that does not answer costs a
// viewer a bounded time and an error that says so.
func TestEveryWaitHasADeadline(t *testing.T) {
	for name, build := range map[string]func(n *node) relay.Config{
		"directory": func(*node) relay.Config { return relay.Config{Directory: stuck{}} },
		"signaling": func(n *node) relay.Config {
			return relay.Config{
				Directory: cdn.Static("http://o"), Fetcher: relay.NewWHEP(n.Node, relay.WHEPConfig{Dialer: stuck{}, SignalTimeout: 5 * time.Second}),
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				n := w.node("node", cdntest.Path{})
				r, err := relay.New(n.Node, build(n))
				require.NoError(t, err)
				w.serveViewers(n, r, edge.Config{FetchTimeout: 8 * time.Second})
				begun := time.Now()
				require.ErrorIs(t, w.refusal(n, "live"), cdn.ErrTimeout)
				require.LessOrEqual(t, time.Since(begun), 8*time.Second)
			})
		})
	}
}

// A viewer may wait a bounded time for a stream that is not there yet.
func TestEdgeWaitsForTheStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		o := w.origin("origin", cdntest.Path{}, origin.Config{})
		e := w.edge("edge", cdntest.Path{}, edge.Config{Wait: 10 * time.Second}, o)
		begun := time.Now()
		require.ErrorIs(t, w.refusal(e, "live"), cdn.ErrNotFound)
		require.InDelta(t, 10, time.Since(begun).Seconds(), 0.5)

		go func() {
			time.Sleep(4 * time.Second)
			w.publish(o, "live", cdntest.Path{}, cdntest.PublisherConfig{})
		}()
		v := w.view(e, "live", "viewer", cdntest.Path{}, cdntest.ViewerConfig{})
		require.NoError(t, v.WaitFrames(w.within(10*time.Second), 30))
		require.NoError(t, v.Close())
	})
}

// A viewer that can take none of the stream's codecs is told so.
func TestNoCommonCodec(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		o := w.origin("origin", cdntest.Path{}, origin.Config{Codecs: []string{"video/H264", "audio/opus"}})
		_, err := cdntest.NewPublisher(w.within(5*time.Second), cdntest.PublisherConfig{
			Net: w.network.Host("vp8", cdntest.Path{}).Net(), Dialer: w.dialer, URL: o.url() + "/whip/live", Stream: "live",
			Video: &cdntest.Video{Codec: "video/VP8"},
		})
		require.ErrorIs(t, err, cdn.ErrNoCommonCodec, "not allowed here")
		p := w.publish(o, "live", cdntest.Path{}, cdntest.PublisherConfig{Video: &cdntest.Video{Codec: "video/H264"}})
		require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
		_, err = cdntest.NewViewer(w.within(5*time.Second), cdntest.ViewerConfig{
			Net: w.network.Host("viewer", cdntest.Path{}).Net(), Dialer: w.dialer, URL: o.url() + "/whep/live", Stream: "live",
			Codecs: []string{"video/VP8"}, Kinds: []cdn.Kind{cdn.Video},
		})
		require.ErrorIs(t, err, cdn.ErrNoCommonCodec)
		for _, sdp := range []string{"", "hello", "v=0\r\n"} {
			_, err = o.edge.Offer(context.Background(), signal.Offer{Stream: "live", SDP: sdp})
			require.ErrorIs(t, err, cdn.ErrInvalid)
			_, err = o.origin.Offer(context.Background(), signal.Offer{Stream: "other", SDP: sdp})
			require.ErrorIs(t, err, cdn.ErrInvalid)
		}
		require.Len(t, o.Node.Stats().Streams, 1, "what was refused left nothing")
		require.Equal(t, 1, o.Node.Stats().Sessions)
	})
}
