package delta_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
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
	"github.com/deltacdn/delta/signal"
)

// A logBook is a log that is read while it is written.
type logBook struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (b *logBook) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.Write(p)
}

// warnings returns the lines at WARN or above that have a text.
func (b *logBook) warnings(text string) (lines []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for line := range strings.SplitSeq(b.all.String(), "\n") {
		if strings.Contains(line, "level=WARN") && strings.Contains(line, text) {
			lines = append(lines, line)
		}
	}
	return lines
}

// sessionKeeper notes the sessions that a handler makes.
type sessionKeeper struct {
	signal.Handler
	all *[]signal.Session
}

// unplayable returns the events of tracks that viewers cannot take.
func (w *world) unplayable() (all []cdn.TrackUnplayable) {
	for {
		select {
		case e := <-w.events:
			if u, ok := e.(cdn.TrackUnplayable); ok {
				all = append(all, u)
			}
		default:
			return all
		}
	}
}

// A viewer that can take only a part of a stream gets that part. It is told which
// codec the rest has and what it offered, and so are the log, the application and
// the statistics.
func TestAMismatchIsTold(t *testing.T) {
	const played = "video/VP8"
	for name, c := range map[string]struct {
		hop    bool
		config edge.Config
		again  bool // the first session ends, since it was promised video
	}{
		"at the origin":              {},
		"behind a hop":               {hop: true},
		"answered before the stream": {hop: true, config: edge.Config{AnswerAfter: -1}, again: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				path := cdntest.Path{Delay: ms(5)}
				var book logBook
				logged := func(c *cdn.Config) { c.Logger = slog.New(slog.NewTextHandler(&book, nil)) }
				o := w.origin("origin", path, origin.Config{}, logged)
				at := o
				if c.hop {
					at = w.node("edge", path, logged)
					w.fetch(at, o)
					w.serveViewers(at, at.relay, c.config)
				}
				var sessions []signal.Session
				w.dialer.Handle(at.url()+"/whep/", sessionKeeper{at.edge, &sessions})
				a, v := opusTrack(), videoTrack(played)
				_, err := rawPublish(t, w, o, "live", w.network.Host("pub", path), only(played, ""), nil, a, v)
				require.NoError(t, err)
				view := func(host string) *rawViewer {
					v, err := rawView(t, w, at, "live", w.network.Host(host, path), only(webrtc.MimeTypeH264, h264Fmtp), nil, webrtc.RTPCodecTypeAudio, webrtc.RTPCodecTypeVideo)
					require.NoError(t, err)
					return v
				}
				var viewer *rawViewer
				start := time.Now()
				for n := range 100 {
					time.Sleep(time.Until(start.Add(time.Duration(n) * 20 * time.Millisecond)))
					_ = a.send(rtp.Header{SequenceNumber: uint16(n), Timestamp: uint32(n * 960)}, make([]byte, 60))
					_ = v.send(rtp.Header{SequenceNumber: uint16(n), Timestamp: uint32(n * 1800), Marker: true}, vp8Picture(n%20 == 0, n))
					if n == 20 {
						viewer = view("view")
					}
					if n == 50 && c.again && !peerConnections {
						require.ErrorIs(t, sessions[0].Err(), cdn.ErrTimeout)
						viewer = view("again")
					}
				}
				require.NotEmpty(t, viewer.packets("audio"))
				require.Empty(t, viewer.packets("video"))
				require.Contains(t, viewer.answer, "a=inactive")

				status := sessions[len(sessions)-1].(signal.StatusSession).Status()
				require.Equal(t, signal.Mismatch{
					Kind: "video", Stream: "video/VP8", Offered: "video/H264 packetization-mode=1;profile-level-id=42e01f",
				}, status.Mismatch)
				told := w.unplayable()
				require.Len(t, told, 1)
				require.Equal(t, "video", told[0].Track)
				require.Equal(t, "video/VP8", told[0].Codec.MimeType)
				require.Len(t, told[0].Offered, 1)
				stats := at.edge.Stats().Sessions
				require.Len(t, stats, 1)
				require.Equal(t, told[0].Session, stats[0].Session)
				require.Len(t, stats[0].Mismatches, 1)
				require.Equal(t, told[0].Codec, stats[0].Mismatches[0].Codec)
				lines := book.warnings("cannot decode a track")
				require.Len(t, lines, 1)
				require.Contains(t, lines[0], "video/VP8")
				require.Contains(t, lines[0], "video/H264")
			})
		})
	}
}

func (k sessionKeeper) Offer(ctx context.Context, o signal.Offer) (signal.Session, error) {
	s, err := k.Handler.Offer(ctx, o)
	if err == nil {
		*k.all = append(*k.all, s)
	}
	return s, err
}

// A viewer that wants no video misses none.
func TestASoundOnlyViewerHasNoMismatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		path := cdntest.Path{Delay: ms(5)}
		o := w.origin("origin", path, origin.Config{})
		_, err := rawPublish(t, w, o, "live", w.network.Host("pub", path), only(webrtc.MimeTypeVP8, ""), nil, opusTrack(), videoTrack(webrtc.MimeTypeVP8))
		require.NoError(t, err)
		_, err = rawView(t, w, o, "live", w.network.Host("view", path), only(webrtc.MimeTypeH264, h264Fmtp), nil, webrtc.RTPCodecTypeAudio)
		require.NoError(t, err)
		require.Empty(t, w.unplayable())
		require.Empty(t, o.edge.Stats().Sessions[0].Mismatches)
	})
}

// If nothing fits, the refusal names both sides' codecs, to the viewer and in the
// log.
func TestARefusalNamesBothSidesCodecs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		path := cdntest.Path{Delay: ms(5)}
		var book logBook
		o := w.origin("origin", path, origin.Config{}, func(c *cdn.Config) { c.Logger = slog.New(slog.NewTextHandler(&book, nil)) })
		_, err := rawPublish(t, w, o, "live", w.network.Host("pub", path), only(webrtc.MimeTypeVP8, ""), nil, videoTrack(webrtc.MimeTypeVP8))
		require.NoError(t, err)
		_, err = rawView(t, w, o, "live", w.network.Host("view", path), only(webrtc.MimeTypeH264, h264Fmtp), nil, webrtc.RTPCodecTypeAudio, webrtc.RTPCodecTypeVideo)
		require.ErrorIs(t, err, cdn.ErrNoCommonCodec)
		require.ErrorContains(t, err, "the stream has video/VP8, and the offer has audio/opus, video/H264 packetization-mode=1;profile-level-id=42e01f")
		var outer, e *cdn.Error
		require.ErrorAs(t, err, &outer)
		require.True(t, errors.As(outer.Err, &e))
		require.Equal(t, "The stream has video/VP8. The player offers audio/opus, video/H264 packetization-mode=1;profile-level-id=42e01f.", e.Detail)
		require.Len(t, book.warnings("video/VP8"), 1)
	})
}
