package delta_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtp"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/origin"
	"github.com/deltacdn/delta/relay"
)

type flaky struct {
	cdn.Directory
	down atomic.Bool
}

func (d *flaky) Find(ctx context.Context, id cdn.StreamID) ([]cdn.Entry, error) {
	if d.down.Load() {
		return nil, errors.New("the directory is down")
	}
	return d.Directory.Find(ctx, id)
}

// Losing the directory stops no running stream: not even if nodes are lost, too.
func TestFailoverWithoutDirectory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		o := w.origin("origin", cdntest.Path{Delay: ms(5)}, origin.Config{})
		one, two := w.relay("one", cdntest.Path{Delay: ms(5)}, o), w.relay("two", cdntest.Path{Delay: ms(5)}, o)
		e := w.node("edge", cdntest.Path{Delay: ms(5)})
		d := &flaky{Directory: cdn.Static(one.url(), two.url())}
		var err error
		e.relay, err = relay.New(e.Node, relay.Config{Directory: d, Fetcher: w.fetcher(e)})
		require.NoError(t, err)
		p := w.publish(o, "live", cdntest.Path{Delay: ms(5)}, cdntest.PublisherConfig{Video: &cdntest.Video{KeyframeInterval: 2 * time.Second}})
		require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
		sub, err := e.relay.Open(t.Context(), cdn.Request{Stream: "live"})
		require.NoError(t, err)
		defer sub.Close()
		require.NoError(t, sub.Stream().Ready(w.within(5*time.Second)))
		time.Sleep(3 * time.Second)
		d.down.Store(true)
		w.kill(one)
		time.Sleep(5 * time.Second)
		require.Less(t, age(sub.Stream(), cdn.Video), time.Second)
		time.Sleep(20 * time.Second)
		require.Less(t, age(sub.Stream(), cdn.Video), time.Second)

		w.kill(two) // now there is none, until the first one is back
		time.Sleep(5 * time.Second)
		again := w.relay("three", cdntest.Path{Delay: ms(5)}, o)
		w.dialer.Handle(one.url()+relay.Prefix, again.server)
		time.Sleep(10 * time.Second)
		require.Less(t, age(sub.Stream(), cdn.Video), time.Second)
		require.NoError(t, sub.Stream().Err())
	})
}

// feed writes a packet every 20 ms, until stop is closed.
func feed(t *testing.T, in *cdn.Input, track int, layer string, stop <-chan struct{}, video bool) {
	li, err := in.Layer(track, layer, silent{})
	require.NoError(t, err)
	go func() {
		for n := uint16(0); ; n++ {
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
			}
			payload := []byte{0x90, 0x80, byte(n & 0x7f), 1, 2, 3} // VP8 descriptor-ish
			if video {
				payload = append([]byte{0x10, 0x00, 0, 0, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xf0, 0}, make([]byte, 500)...) // a keyframe
			}
			li.Write(time.Now(), &rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: n, Timestamp: uint32(n) * 1800, Marker: true}, Payload: payload}, nil)
		}
	}()
}

type silent struct{}

func (silent) RequestKeyframe() {}
func (silent) Nack([]uint16)    {}

type one struct{ s *cdn.Stream }

func (o one) Open(_ context.Context, r cdn.Request) (*cdn.Subscription, error) {
	if r.Stream != o.s.ID() {
		return nil, cdn.ErrNotFound
	}
	return cdn.NewSubscription(o.s, func() {}), nil
}

type several map[cdn.StreamID]*cdn.Stream

func (m several) Open(_ context.Context, r cdn.Request) (*cdn.Subscription, error) {
	s := m[r.Stream]
	if s == nil {
		return nil, cdn.ErrNotFound
	}
	return cdn.NewSubscription(s, func() {}), nil
}

// A stream whose description is long does not keep others from being asked for.
func TestLongDescription(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		o := w.node("o", cdntest.Path{Delay: ms(5)})
		mk := func(id cdn.StreamID, publication string) *cdn.Stream {
			s, err := o.NewStream(id)
			require.NoError(t, err)
			in, err := s.NewInput(cdn.InputConfig{Publication: publication})
			require.NoError(t, err)
			require.NoError(t, in.Start([]cdn.TrackInfo{{ID: "video", Kind: cdn.Video, Codec: cdn.Codec{MimeType: "video/VP8", ClockRate: 90000}}}))
			return s
		}
		src := several{}
		src["bad"] = mk("bad", strings.Repeat("<", 12<<10))
		for _, id := range []cdn.StreamID{"good", "good2"} {
			src[id] = mk(id, "")
		}
		w.serveNodes(o, src)
		e := w.node("e", cdntest.Path{Delay: ms(5)})
		w.fetch(e, o)
		open := func(id cdn.StreamID) error {
			sub, err := e.relay.Open(t.Context(), cdn.Request{Stream: id})
			if err != nil {
				return err
			}
			defer sub.Close()
			return sub.Stream().Ready(w.within(4 * time.Second))
		}
		require.NoError(t, open("good"))
		_ = open("bad") // a link does not take it, a PeerConnection does
		time.Sleep(10 * time.Second)
		for n := range 400 {
			err := open(cdn.StreamID(fmt.Sprint("nothing/", n)))
			require.ErrorIs(t, err, cdn.ErrNotFound)
		}
		require.NoError(t, open("good2"))
	})
}

// A publisher that takes over with other layers than the one before is seen at
// edges, too: with simulcast, without it, and with it again.
func TestTakeoverWithOtherLayers(t *testing.T) {
	for _, publishers := range [][][]string{
		{nil, {"h", "l"}, nil},
		{{"h", "l"}, nil, {"h", "l"}},
		{{"h", "l"}, {"l", "m"}, {"h"}},
	} {
		t.Run(fmt.Sprint(publishers), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { testTakeoverWithOtherLayers(t, publishers) })
		})
	}
}

func testTakeoverWithOtherLayers(t *testing.T, publishers [][]string) {
	w := newWorld(t)
	o := w.node("o", cdntest.Path{Delay: ms(5)})
	s, err := o.NewStream("live")
	require.NoError(t, err)
	w.serveNodes(o, one{s})
	e := w.node("e", cdntest.Path{Delay: ms(5)})
	w.fetch(e, o)
	var sub *cdn.Subscription
	for i, layers := range publishers {
		in, err := s.NewInput(cdn.InputConfig{Publication: fmt.Sprint(i), Epoch: uint64(i)})
		require.NoError(t, err)
		require.NoError(t, in.Start([]cdn.TrackInfo{
			{ID: "audio", Kind: cdn.Audio, Codec: cdn.Codec{MimeType: "audio/opus", ClockRate: 48000, Channels: 2}},
			{ID: "video", Kind: cdn.Video, Codec: cdn.Codec{MimeType: "video/VP8", ClockRate: 90000}, Layers: layers},
		}))
		stop := make(chan struct{})
		feed(t, in, 0, "", stop, false)
		if layers == nil {
			layers = []string{""}
		}
		for _, name := range layers {
			feed(t, in, 1, name, stop, true)
		}
		if sub == nil {
			sub, err = e.relay.Open(t.Context(), cdn.Request{Stream: "live"})
			require.NoError(t, err)
			defer sub.Close()
			require.NoError(t, sub.Stream().Ready(w.within(4*time.Second)))
		}
		time.Sleep(10 * time.Second)
		require.Less(t, age(sub.Stream(), cdn.Video), time.Second, "publisher %d", i)
		require.Less(t, age(sub.Stream(), cdn.Audio), time.Second, "publisher %d", i)
		if unnamed := sub.Stream().Tracks()[1].Layer(""); unnamed != nil && layers[0] != "" {
			require.Greater(t, time.Since(unnamed.Newest().Arrival), 5*time.Second, "nothing is made of the others")
		}
		close(stop)
		in.Close(nil)
	}
}

// age returns how long ago the newest packet of a kind came.
func age(s *cdn.Stream, kind cdn.Kind) time.Duration {
	best := time.Duration(math.MaxInt64)
	for _, tr := range s.Tracks() {
		for _, l := range tr.Layers() {
			if p := l.Newest(); p != nil && tr.Info().Kind == kind {
				best = min(best, time.Since(p.Arrival))
			}
		}
	}
	return best
}

// A link with a node that has been killed and is back seems to stand for a
// while. Who wants a stream of it just then gets it all the same.
func TestFetchFromANodeThatIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		o := w.origin("origin", cdntest.Path{Delay: ms(5)}, origin.Config{})
		one := w.relay("one", cdntest.Path{Delay: ms(5)}, o)
		e := w.edge("edge", cdntest.Path{Delay: ms(5)}, edge.Config{}, one)
		for _, stream := range []cdn.StreamID{"first", "second"} {
			p := w.publish(o, stream, cdntest.Path{Delay: ms(5)}, cdntest.PublisherConfig{})
			require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
		}
		sub, err := e.relay.Open(t.Context(), cdn.Request{Stream: "first"})
		require.NoError(t, err)
		require.NoError(t, sub.Stream().Ready(w.within(4*time.Second)))
		sub.Close()
		time.Sleep(time.Minute) // the link is idle

		w.kill(one)
		again := w.relay("two", cdntest.Path{Delay: ms(5)}, o)
		w.dialer.Handle(one.url()+relay.Prefix, again.server)
		v := w.view(e, "second", "viewer", cdntest.Path{Delay: ms(5)}, cdntest.ViewerConfig{})
		require.NoError(t, v.WaitFrames(w.within(2*time.Second), 10))
	})
}

// A server that was closed serves no node any more.
func TestServerCloseEndsLinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		o := w.origin("origin", cdntest.Path{Delay: ms(5)}, origin.Config{})
		p := w.publish(o, "live", cdntest.Path{}, cdntest.PublisherConfig{})
		require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
		e := w.node("e", cdntest.Path{Delay: ms(5)})
		w.fetch(e, o)
		sub, err := e.relay.Open(t.Context(), cdn.Request{Stream: "live"})
		require.NoError(t, err)
		defer sub.Close()
		require.NoError(t, sub.Stream().Ready(w.within(4*time.Second)))
		time.Sleep(time.Second)
		require.NoError(t, o.server.Close())
		time.Sleep(time.Second)
		require.Empty(t, o.server.Serving())
	})
}

// What a publisher says of its codecs either travels everywhere, or is refused at
// once.
func TestLongCodecParameters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		o := w.origin("origin", cdntest.Path{Delay: ms(5)}, origin.Config{})
		e := w.node("edge", cdntest.Path{Delay: ms(5)})
		w.fetch(e, o)
		publish := func(id cdn.StreamID, fmtp string) error {
			p, err := cdntest.NewPublisher(w.within(10*time.Second), cdntest.PublisherConfig{
				Net: w.network.Host("publisher of "+string(id), cdntest.Path{}).Net(), Dialer: w.dialer, URL: o.url() + "/whip/" + string(id), Stream: id,
				Video: &cdntest.Video{Codec: "video/VP8", Fmtp: fmtp},
			})
			if err == nil {
				t.Cleanup(func() { _ = p.Stop(w.within(time.Second)) })
			}
			return err
		}
		for _, fmtp := range []string{strings.Repeat("x", 33<<10), strings.Repeat("<", 6<<10)} {
			require.ErrorIs(t, publish("long", "x="+fmtp), cdn.ErrInvalid)
		}
		require.Empty(t, o.Node.Stats().Streams)
		for i, fmtp := range []string{strings.Repeat("x", 31<<10), strings.Repeat("<", 5<<10)} {
			id := cdn.StreamID(fmt.Sprint("live/", i))
			require.NoError(t, publish(id, "x="+fmtp))
			sub, err := e.relay.Open(t.Context(), cdn.Request{Stream: id})
			require.NoError(t, err)
			defer sub.Close()
			require.NoError(t, sub.Stream().Ready(w.within(5*time.Second)))
			require.Contains(t, sub.Stream().Tracks()[0].Info().Codec.Fmtp, fmtp)
		}
	})
}
