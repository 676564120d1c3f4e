package delta_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
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
	"github.com/deltacdn/delta/signal/inproc"
	"github.com/deltacdn/delta/signal/whep"
)

// lateFetcher fetches after a while, or fails then, and counts how often.
type lateFetcher struct {
	relay.Fetcher
	after time.Duration
	err   error
	n     atomic.Int32
}

func (f *lateFetcher) Fetch(ctx context.Context, from cdn.Entry, r cdn.Request, s *cdn.Stream) error {
	f.n.Add(1)
	select {
	case <-time.After(f.after):
	case <-ctx.Done():
		return ctx.Err()
	}
	if f.err != nil {
		return f.err
	}
	return f.Fetcher.Fetch(ctx, from, r, s)
}

// lateEdge is an edge to which o's streams come only after a while.
func (w *world) lateEdge(o *node, f *lateFetcher, c edge.Config) *node {
	n := w.node("edge", cdntest.Path{Delay: ms(5)})
	if f.Fetcher == nil {
		f.Fetcher = relay.NewWHEP(n.Node, relay.WHEPConfig{Dialer: w.dialer})
	}
	var err error
	n.relay, err = relay.New(n.Node, relay.Config{Directory: cdn.Static(o.url()), Fetcher: f})
	require.NoError(w.t, err)
	w.serveViewers(n, n.relay, c)
	return n
}

// ended waits for the next viewer's session to end, and returns why.
func (w *world) ended() error {
	for {
		select {
		case e := <-w.events:
			if e, ok := e.(cdn.SessionEnded); ok && e.Action == cdn.ActionPlay {
				return e.Err
			}
		case <-w.within(30 * time.Second).Done():
			w.t.Fatal("no viewer's session has ended")
		}
	}
}

// refusal returns why n has no stream for a viewer, whom it tells by the answer
// or, when it is given by then, by the end of the session.
func (w *world) refusal(n *node, stream cdn.StreamID) error {
	v, err := cdntest.NewViewer(w.within(30*time.Second), cdntest.ViewerConfig{
		Net: w.network.Host("refused", cdntest.Path{}).Net(), Dialer: w.dialer, URL: n.url() + "/whep/" + string(stream), Stream: stream,
	})
	if err != nil {
		return err
	}
	defer func() { _ = v.Close() }()
	return w.ended()
}

func skipPeerConnections(t *testing.T) {
	if peerConnections {
		t.Skip("a PeerConnection answers when the stream is ready")
	}
}

// A viewer connects to an edge while that fetches the stream: with a round trip
// R to the edge it has its keyframe after 5 R (one for the POST, two for ICE,
// two for DTLS) or, on a cold edge, when the stream has come, if that is later.
func TestViewersConnectWhileTheStreamIsFetched(t *testing.T) {
	skipPeerConnections(t)
	const hop = 50
	for _, c := range []struct {
		name          string
		roundTrip     int    // to the edge, in ms
		link          string // "new", "stands" or, by WHEP, none
		answerAfter   int    // 0: the default
		cold, warm    time.Duration
		connectedCold time.Duration
	}{
		// Over a link that stands the stream is there a round trip of the hop after
		// the POST has come, and what is left is what the answer was held back for.
		{name: "link", roundTrip: 20, link: "stands", cold: ms(130), warm: ms(100), connectedCold: ms(130)},
		{name: "link, farther", roundTrip: 100, link: "stands", cold: ms(530), warm: ms(500), connectedCold: ms(530)},
		{name: "link, nearby", roundTrip: 4, link: "stands", cold: ms(56), warm: ms(20), connectedCold: ms(50)},
		{name: "link, at once", roundTrip: 20, link: "stands", answerAfter: -1, cold: ms(100), warm: ms(100), connectedCold: ms(100)},
		{name: "link, when the stream is there", roundTrip: 20, link: "stands", answerAfter: 20_000, cold: ms(150), warm: ms(100), connectedCold: ms(150)},
		// The tracks of the first stream of a link are there after 100 ms, its media
		// after 180.
		{name: "first of a link", roundTrip: 20, link: "new", cold: ms(210), warm: ms(100), connectedCold: ms(130)},
		{name: "first of a link, farther", roundTrip: 100, link: "new", cold: ms(530), warm: ms(500), connectedCold: ms(530)},
		{name: "first of a link, farther, when the stream is there", roundTrip: 100, link: "new", answerAfter: 20_000, cold: ms(600), warm: ms(500), connectedCold: ms(600)},
		// By WHEP and a PeerConnection the hop takes 400 ms: 50 for the POST, 250
		// for ICE, of which pion waits 150 for its turn, and 100 for DTLS.
		{name: "WHEP", roundTrip: 100, cold: ms(550), warm: ms(500), connectedCold: ms(530)},
		{name: "WHEP, nearby", roundTrip: 20, cold: ms(430), warm: ms(100), connectedCold: ms(130)},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				o := w.origin("origin", cdntest.Path{}, origin.Config{})
				p := w.publish(o, "live", cdntest.Path{}, cdntest.PublisherConfig{})
				require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
				time.Sleep(3*time.Second + ms(1)) // no frame comes at the instant of a join

				e := w.node("edge", cdntest.Path{})
				w.network.Between(o.host, e.host, cdntest.Path{Delay: ms(hop) / 2})
				far := inproc.New(inproc.Config{Delay: ms(hop)})
				far.Handle(o.url()+relay.Prefix, o.server)
				rc := relay.Config{Directory: cdn.Static(o.url()), Fetcher: relay.NewWHEP(e.Node, relay.WHEPConfig{Dialer: far})}
				var err error
				if c.link != "" {
					rc.Fetcher, err = relay.NewLink(e.Node, relay.LinkConfig{Dialer: far})
					require.NoError(t, err)
				}
				e.relay, err = relay.New(e.Node, rc)
				require.NoError(t, err)
				if c.link == "stands" {
					w.publish(o, "other", cdntest.Path{}, cdntest.PublisherConfig{})
					sub, err := e.relay.Open(t.Context(), cdn.Request{Stream: "other"})
					require.NoError(t, err)
					defer sub.Close()
					time.Sleep(time.Second)
				}
				w.dialer = inproc.New(inproc.Config{Delay: ms(c.roundTrip)})
				w.serveViewers(e, e.relay, edge.Config{AnswerAfter: ms(c.answerAfter)})

				join := func(name string) (first, connected time.Duration) {
					host := w.network.Host(name, cdntest.Path{})
					w.network.Between(host, e.host, cdntest.Path{Delay: ms(c.roundTrip) / 2})
					begun := time.Now()
					v := cdntest.View(t, cdntest.ViewerConfig{Net: host.Net(), Dialer: w.dialer, URL: e.url() + "/whep/live", Stream: "live"})
					require.NoError(t, v.WaitFrames(w.within(5*time.Second), 30))
					synctest.Wait() // they may all have come in the instant of the connection
					r := v.Report()
					require.True(t, r.Video().BeganWithKeyframe)
					require.Zero(t, r.Video().FaultCount, r.Video().Faults)
					require.Zero(t, r.Video().Missing)
					return r.Video().First.Sub(begun), r.Connected.Sub(begun)
				}
				cold, connectedCold := join("first")
				warm, _ := join("second")
				require.Equal(t, []time.Duration{c.connectedCold, c.cold, c.warm}, []time.Duration{connectedCold, cold, warm})
			})
		})
	}
}

// What a viewer was answered with before the stream was there is what it plays:
// any codec that was offered.
func TestAnsweredBeforeTheStreamIsReady(t *testing.T) {
	skipPeerConnections(t)
	for _, codec := range someOf([]string{"video/VP8", "video/VP9", "video/H264", "video/H265", "video/AV1"}) {
		t.Run(codec, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				o := w.origin("origin", cdntest.Path{Delay: ms(5)}, origin.Config{})
				p := w.publish(o, "live", cdntest.Path{}, cdntest.PublisherConfig{
					Video: &cdntest.Video{Codec: codec, Extensions: []string{"urn:3gpp:video-orientation"}}, Audio: &cdntest.Audio{Stereo: true},
				})
				require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
				f := &lateFetcher{after: ms(300)}
				e := w.lateEdge(o, f, edge.Config{})
				begun := time.Now()
				v := w.view(e, "live", "viewer", cdntest.Path{Delay: ms(5)}, cdntest.ViewerConfig{Extensions: []string{"urn:3gpp:video-orientation"}})
				require.Equal(t, ms(30), time.Since(begun))
				require.NoError(t, v.WaitConnected(w.within(time.Second)))
				require.Equal(t, ms(30)+4*ms(20), time.Since(begun), "four round trips, and the stream is not there yet")
				require.NoError(t, v.WaitFrames(w.within(5*time.Second), 90))
				r := v.Report()
				for _, track := range r.Tracks {
					require.Zero(t, track.FaultCount, track.Faults)
					require.Zero(t, track.Missing)
					require.NotEmpty(t, track.SenderReports)
				}
				require.Equal(t, codec, r.Video().Codec.MimeType)
				require.True(t, r.Video().BeganWithKeyframe)
				require.Zero(t, r.Video().Undecodable())
				require.NotEmpty(t, r.Video().Extensions["urn:3gpp:video-orientation"])
				require.NotEmpty(t, r.Audio().Frames)
				require.Contains(t, r.Audio().Codec.Fmtp, "sprop-stereo=1")
				requireSync(t, r.Video(), 90000)
				requireSync(t, r.Audio(), 48000)

				second := w.view(e, "live", "second", cdntest.Path{Delay: ms(5)}, cdntest.ViewerConfig{})
				require.NoError(t, second.WaitFrames(w.within(5*time.Second), 30))
				require.Equal(t, int32(1), f.n.Load())
			})
		})
	}
}

// What is known soon enough refuses the viewer; what turns out later ends the
// session, with the same error.
func TestFailuresBeforeAndAfterTheAnswer(t *testing.T) {
	skipPeerConnections(t)
	h264 := cdntest.PublisherConfig{Video: &cdntest.Video{Codec: "video/H264"}}
	for name, c := range map[string]struct {
		err    error // of the fetch
		viewer cdntest.ViewerConfig
		config edge.Config
		after  time.Duration // that the session ends; 0: 300 ms
		want   error
	}{
		"not found":       {err: cdn.ErrNotFound, want: cdn.ErrNotFound},
		"upstream lost":   {err: cdn.ErrPeerLost, want: cdn.ErrPeerLost},
		"never ready":     {config: edge.Config{FetchTimeout: ms(200)}, after: ms(200), want: cdn.ErrTimeout},
		"no common codec": {viewer: cdntest.ViewerConfig{Codecs: []string{"video/VP8"}, Kinds: []cdn.Kind{cdn.Video}}, want: cdn.ErrNoCommonCodec},
		"no such layer":   {viewer: cdntest.ViewerConfig{Layer: "x"}, want: cdn.ErrNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				o := w.origin("origin", cdntest.Path{}, origin.Config{})
				p := w.publish(o, "live", cdntest.Path{}, h264)
				require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
				f := &lateFetcher{after: ms(300), err: c.err}
				e := w.lateEdge(o, f, c.config)

				begun := time.Now()
				v := w.view(e, "live", "viewer", cdntest.Path{}, c.viewer)
				require.Equal(t, ms(30), time.Since(begun))
				require.NoError(t, v.WaitConnected(w.within(time.Second)))
				<-v.Done()
				if c.after == 0 {
					c.after = ms(300)
				}
				require.Equal(t, c.after+ms(20)+ms(5), time.Since(begun), "with a goodbye 20 ms ahead, 5 ms on the way")
				require.ErrorIs(t, w.ended(), c.want)
				synctest.Wait()
				require.Zero(t, e.Node.Stats().Sessions)

				// A viewer who comes when the stream is there, or is known not to be,
				// is refused at once.
				begun = time.Now()
				c.viewer.Net, c.viewer.Dialer, c.viewer.URL = w.network.Host("second", cdntest.Path{}).Net(), w.dialer, e.url()+"/whep/live"
				c.viewer.Stream = "live"
				if name != "never ready" {
					_, err := cdntest.NewViewer(w.within(5*time.Second), c.viewer)
					require.ErrorIs(t, err, c.want)
					require.Zero(t, time.Since(begun))
				}
			})
		})
	}
}

// A viewer hears of an early failure by the status of the answer, and of a later
// one on the event stream.
func TestLateFailuresAreTold(t *testing.T) {
	skipPeerConnections(t)
	for name, c := range map[string]struct {
		after  time.Duration
		status int
	}{"early": {after: ms(29), status: http.StatusConflict}, "late": {after: ms(31), status: http.StatusCreated}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				o := w.origin("origin", cdntest.Path{}, origin.Config{})
				e := w.lateEdge(o, &lateFetcher{after: c.after, err: cdn.ErrNotFound}, edge.Config{})
				h, err := whep.New(e.edge, whep.Config{})
				require.NoError(t, err)
				defer func() { require.NoError(t, h.Close()) }()
				d := &recordingDialer{}
				_, err = cdntest.NewViewer(w.within(time.Second), cdntest.ViewerConfig{
					Net: w.network.Host("viewer", cdntest.Path{}).Net(), Dialer: d, URL: "http://edge", Stream: "live",
				})
				require.ErrorIs(t, err, errRecorded)
				post := httptest.NewRequest(http.MethodPost, "/whep/live", strings.NewReader(d.offer))
				post.Header.Set("Content-Type", "application/sdp")
				answer := httptest.NewRecorder()
				begun := time.Now()
				h.ServeHTTP(answer, post)
				require.Equal(t, c.status, answer.Code, answer.Body)
				if name == "early" {
					require.Equal(t, ms(29), time.Since(begun))
					return
				}
				made := httptest.NewRecorder()
				h.ServeHTTP(made, httptest.NewRequest(http.MethodPost, answer.Header().Get("Location")+"/events", nil))
				events := httptest.NewRecorder()
				h.ServeHTTP(events, httptest.NewRequest(http.MethodGet, made.Header().Get("Location"), nil))
				require.Equal(t, ms(31), time.Since(begun))
				require.Contains(t, events.Body.String(), "event: ended\ndata: {\"code\":\"not-found\"")
				gone := httptest.NewRecorder()
				h.ServeHTTP(gone, httptest.NewRequest(http.MethodGet, answer.Header().Get("Location"), nil))
				require.Equal(t, http.StatusGone, gone.Code)
			})
		})
	}
}

// recordingDialer keeps an offer, and dials nobody.
type recordingDialer struct{ offer string }

var errRecorded = errors.New("recorded")

func (d *recordingDialer) Dial(_ context.Context, _ string, o signal.Offer) (signal.RemoteSession, error) {
	d.offer = o.SDP
	return nil, errRecorded
}

// Those who come at once to a cold edge share one fetch, and all begin with the
// keyframe that it brings.
func TestColdCrowd(t *testing.T) {
	skipPeerConnections(t)
	synctest.Test(t, func(t *testing.T) {
		viewers := fewer(100)
		w := newWorld(t)
		path := cdntest.Path{Delay: ms(5)}
		o := w.origin("origin", path, origin.Config{})
		p := w.publish(o, "live", path, cdntest.PublisherConfig{Video: &cdntest.Video{Bitrate: 200_000}})
		require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
		f := &lateFetcher{after: ms(300)}
		e := w.lateEdge(o, f, edge.Config{})
		host := w.network.Host("viewers", path)
		var wg sync.WaitGroup
		all := make([]*cdntest.Viewer, viewers)
		for i := range all {
			wg.Go(func() {
				var err error
				all[i], err = cdntest.NewViewer(w.within(5*time.Second), cdntest.ViewerConfig{
					Net: host.Net(), Dialer: w.dialer, URL: e.url() + "/whep/live", Stream: "live",
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
		require.Equal(t, viewers, e.edge.Stats().Viewers["live"])
		for _, v := range all {
			require.NoError(t, v.WaitFrames(w.within(5*time.Second), 30))
			require.True(t, v.Report().Video().BeganWithKeyframe)
			require.Zero(t, v.Report().Video().FaultCount+v.Report().Video().Missing)
		}
		require.Equal(t, int32(1), f.n.Load())
		require.Equal(t, map[cdn.StreamID]int{"live": 1}, o.server.Serving())
	})
}

// Whoever waits for a stream goes when the viewer does, or the edge.
func TestNobodyWaitsForEver(t *testing.T) {
	skipPeerConnections(t)
	for _, how := range []string{"viewer leaves", "edge closes", "request is given up", "edge closes before the answer"} {
		t.Run(how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				o := w.origin("origin", cdntest.Path{}, origin.Config{})
				e := w.lateEdge(o, &lateFetcher{after: time.Hour}, edge.Config{Wait: time.Hour, FetchTimeout: time.Hour})
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				switch how {
				case "request is given up":
					time.AfterFunc(ms(10), cancel)
				case "edge closes before the answer":
					time.AfterFunc(ms(10), func() { require.NoError(t, e.edge.Close()) })
				}
				begun := time.Now()
				v, err := cdntest.NewViewer(ctx, cdntest.ViewerConfig{
					Net: w.network.Host("viewer", cdntest.Path{}).Net(), Dialer: w.dialer, URL: e.url() + "/whep/live", Stream: "live",
				})
				switch how {
				case "request is given up":
					require.ErrorIs(t, err, context.Canceled)
				case "edge closes before the answer":
					require.ErrorIs(t, err, cdn.ErrClosed)
				default:
					require.NoError(t, err)
					defer func() { _ = v.Close() }()
					time.Sleep(time.Second)
					begun = time.Now()
					require.Equal(t, 1, e.edge.Stats().Viewers["live"])
				}
				switch how {
				case "viewer leaves":
					require.NoError(t, v.Close())
					require.ErrorIs(t, w.ended(), cdn.ErrClosed)
				case "edge closes":
					require.NoError(t, e.edge.Close())
					require.ErrorIs(t, w.ended(), cdn.ErrClosed)
				}
				require.LessOrEqual(t, time.Since(begun), ms(30))
				require.Empty(t, e.edge.Stats().Viewers)
				require.Zero(t, e.Node.Stats().Sessions)
				time.Sleep(6 * time.Second)
				require.Empty(t, e.Node.Stats().Streams, "nobody wants it any more")
			})
		})
	}
}

// A viewer who was promised video, and whose browser would wait for it, comes
// again for sound alone: once, even where nothing is kept for it meanwhile.
func TestSoundAloneIsAskedForAgain(t *testing.T) {
	skipPeerConnections(t)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		o := w.origin("origin", cdntest.Path{}, origin.Config{})
		p := w.publish(o, "live", cdntest.Path{}, cdntest.PublisherConfig{Audio: &cdntest.Audio{}})
		require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
		f := &lateFetcher{after: ms(300)}
		e := w.lateEdge(o, f, edge.Config{})
		first := w.view(e, "live", "first", cdntest.Path{}, cdntest.ViewerConfig{})
		require.ErrorIs(t, w.ended(), cdn.ErrTimeout)
		<-first.Done()
		time.Sleep(10 * time.Second)
		require.Empty(t, e.Node.Stats().Streams)

		begun := time.Now()
		again := w.view(e, "live", "again", cdntest.Path{}, cdntest.ViewerConfig{})
		require.Equal(t, ms(300), time.Since(begun), "the answer waits for what the stream has")
		time.Sleep(3 * time.Second)
		require.Greater(t, len(again.Report().Audio().Frames), 100)
		require.Zero(t, again.Report().Audio().FaultCount)
		require.Equal(t, int32(2), f.n.Load())

		sound := w.view(e, "live", "sound alone", cdntest.Path{}, cdntest.ViewerConfig{Kinds: []cdn.Kind{cdn.Audio}})
		require.NoError(t, sound.WaitFrames(w.within(5*time.Second), 50))
	})
}
