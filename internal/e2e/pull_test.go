package delta_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/webrtc/v4"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/origin"
	"github.com/deltacdn/delta/relay"
	"github.com/deltacdn/delta/signal"
)

// pull starts a node that fetches from a foreign server, and serves viewers.
func (w *world) pull(name string, path cdntest.Path, server string) *node {
	n := w.node(name, path)
	var err error
	n.relay, err = relay.New(n.Node, relay.Config{
		Directory: cdn.Static("http://" + server), Fetcher: relay.NewPull(n.Node, relay.PullConfig{Dialer: w.dialer, Silence: 2 * time.Second}),
	})
	require.NoError(w.t, err)
	w.serveViewers(n, n.relay, edge.Config{})
	return n
}

// open returns a stream of a source once it is ready.
func (w *world) open(s cdn.Source, id cdn.StreamID) *cdn.Stream {
	sub, err := s.Open(w.t.Context(), cdn.Request{Stream: id})
	require.NoError(w.t, err)
	w.t.Cleanup(sub.Close)
	require.NoError(w.t, sub.Stream().Ready(w.within(10*time.Second)))
	return sub.Stream()
}

func trackOf(t *testing.T, s *cdn.Stream, kind cdn.Kind) *cdn.Track {
	for _, track := range s.Tracks() {
		if track.Info().Kind == kind {
			return track
		}
	}
	require.Fail(t, "no such track", "%v", kind)
	return nil
}

// Of any WHEP server a node has the stream as it is sent, also where the answer names
// more codecs than that; losses are repaired, and viewers' requests for keyframes get
// to the server.
func TestPullFromAForeignServer(t *testing.T) {
	for _, mime := range []string{webrtc.MimeTypeVP8, webrtc.MimeTypeH264} {
		for _, loss := range []float64{0, 0.03} {
			t.Run(fmt.Sprintf("%s with losses %v", mime, loss), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { testPull(t, mime, loss) })
			})
		}
	}
}

func testPull(t *testing.T, mime string, loss float64) {
	w := newWorld(t)
	path := cdntest.Path{Delay: ms(10), Loss: loss}
	f := w.foreign("foreign", path, mime)
	n := w.pull("edge", cdntest.Path{}, "foreign")
	s := w.open(n.relay, "live")
	video, sound := trackOf(t, s, cdn.Video), trackOf(t, s, cdn.Audio)
	require.Equal(t, mime, video.Info().Codec.MimeType)
	require.Equal(t, webrtc.MimeTypeOpus, sound.Info().Codec.MimeType)

	pictures, err := video.Reader(cdn.ReaderConfig{Keyframe: true})
	require.NoError(t, err)
	defer pictures.Close()
	noise, err := sound.Reader(cdn.ReaderConfig{})
	require.NoError(t, err)
	defer noise.Close()
	for _, r := range []*cdn.TrackReader{pictures, noise} {
		last := -1
		for i := range 90 {
			got, err := r.ReadFrame(w.within(5 * time.Second))
			require.NoError(t, err)
			if r == pictures || loss == 0 { // pion answers no NACK for sound
				require.Zero(t, got.Lost)
			}
			if i > 0 {
				require.Equal(t, last+1+int(got.Lost), textOf(got))
			}
			last = textOf(got)
		}
	}
	v := w.view(n, "live", "viewer", cdntest.Path{}, cdntest.ViewerConfig{})
	require.NoError(t, v.WaitConnected(w.within(5*time.Second)))
	time.Sleep(time.Second)
	before := f.newest().keyframesAsked()
	for range 5 { // a request may be lost
		require.NoError(t, v.RequestKeyframe())
		time.Sleep(500 * time.Millisecond)
	}
	require.Greater(t, f.newest().keyframesAsked(), before)
	require.Len(t, f.all(), 1, "one fetch")
}

// A stream that nobody watches is fetched no longer, and the server is told.
func TestPullEndsWithItsViewers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		f := w.foreign("foreign", cdntest.Path{}, webrtc.MimeTypeVP8)
		n := w.pull("edge", cdntest.Path{}, "foreign")
		sub, err := n.relay.Open(t.Context(), cdn.Request{Stream: "live"})
		require.NoError(t, err)
		require.NoError(t, sub.Stream().Ready(w.within(5*time.Second)))
		sub.Close()
		time.Sleep(6 * time.Second)
		<-f.newest().Done()
		require.ErrorIs(t, f.newest().Err(), cdn.ErrLeft)
		require.Empty(t, n.Stats().Streams)
	})
}

// A server that is lost is asked again, and the stream goes on.
func TestPullComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		f := w.foreign("foreign", cdntest.Path{}, webrtc.MimeTypeVP8)
		n := w.pull("edge", cdntest.Path{}, "foreign")
		s := w.open(n.relay, "live")
		time.Sleep(2 * time.Second)
		f.setRefuse(&cdn.Error{Op: "play", Err: cdn.ErrUnavailable})
		f.newest().End(cdn.ErrClosed)
		time.Sleep(4 * time.Second)
		f.setRefuse(nil)
		time.Sleep(5 * time.Second)
		require.Len(t, f.all(), 2)
		require.NoError(t, s.Err())
		r, err := trackOf(t, s, cdn.Video).Reader(cdn.ReaderConfig{})
		require.NoError(t, err)
		defer r.Close()
		_, err = r.ReadFrame(w.within(5 * time.Second))
		require.NoError(t, err)
	})
}

// What the server says of a stream that it does not give is what viewers are told.
func TestPullIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		f := w.foreign("foreign", cdntest.Path{}, webrtc.MimeTypeVP8)
		f.setRefuse(&cdn.Error{Op: "play", Err: cdn.ErrNotFound})
		n := w.pull("edge", cdntest.Path{}, "foreign")
		sub, err := n.relay.Open(t.Context(), cdn.Request{Stream: "live"})
		require.NoError(t, err)
		defer sub.Close()
		require.ErrorIs(t, sub.Stream().Ready(w.within(20*time.Second)), cdn.ErrNotFound)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.Error(t, relay.NewPull(n.Node, relay.PullConfig{Dialer: w.dialer}).Fetch(ctx, cdn.Entry{URL: "http://foreign"}, cdn.Request{Stream: "x"}, sub.Stream()))
	})
}

// A server that makes an offer of its own in place of an answer is answered.
type countering struct{ signal.Dialer }

func (c countering) Dial(ctx context.Context, url string, o signal.Offer) (signal.RemoteSession, error) {
	o.SDP, o.Node = "", "somebody"
	s, err := c.Dialer.Dial(ctx, url, o)
	if err != nil {
		return nil, err
	}
	return nil, &signal.CounterOffer{Session: s, Until: time.Now().Add(time.Minute)}
}

func TestPullTakesACounterOffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		o := w.origin("origin", cdntest.Path{}, origin.Config{})
		p := w.publish(o, "live", cdntest.Path{}, cdntest.PublisherConfig{})
		require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
		n := w.node("edge", cdntest.Path{})
		up, err := relay.New(n.Node, relay.Config{
			Directory: cdn.Static("http://origin/link"), Fetcher: relay.NewPull(n.Node, relay.PullConfig{Dialer: countering{w.dialer}}),
		})
		require.NoError(t, err)
		w.serveViewers(n, up, edge.Config{})
		v := w.view(n, "live", "viewer", cdntest.Path{}, cdntest.ViewerConfig{})
		require.NoError(t, v.WaitFrames(w.within(10*time.Second), 60))
		require.Zero(t, v.Report().Video().FaultCount)
	})
}
