package origin_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtp"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/internal/bubble"
	"github.com/deltacdn/delta/origin"
	"github.com/deltacdn/delta/signal/inproc"
)

// A world is an origin on a virtual network.
type world struct {
	t       *testing.T
	node    *cdn.Node
	origin  *origin.Origin
	network *cdntest.Network
	dialer  *inproc.Network
	host    *cdntest.Host // of the node

	told func(cdn.Event) // is told each event, once it is noted; nil: nobody is

	mu     sync.Mutex
	events []string
}

// authorize takes a token for its subject.
func authorize(_ context.Context, r cdn.AuthRequest) (cdn.Grant, error) {
	switch r.Credential {
	case "":
		return cdn.Grant{}, cdn.ErrUnauthorized
	case "slow":
		return cdn.Grant{Subject: "slow", MaxBitrate: 100_000}, nil
	case "brief":
		return cdn.Grant{Subject: "brief", Expires: time.Now().Add(time.Second)}, nil
	}
	return cdn.Grant{Subject: r.Credential}, nil
}

func inWorld(t *testing.T, c origin.Config, f func(t *testing.T, w *world)) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, network: cdntest.NewNetwork(t, cdntest.NetworkConfig{Seed: 1}), dialer: inproc.New(inproc.Config{})}
		w.host = w.network.Host("node", cdntest.Path{})
		host := w.host
		var err error
		w.node, err = cdn.Listen(cdn.Config{
			Addr: host.IP().String() + ":7000", Net: host.Net(), Authorizer: cdn.AuthorizerFunc(authorize), OnEvent: w.note,
		})
		require.NoError(t, err)
		defer func() { require.NoError(t, w.node.Close()) }()
		w.origin, err = origin.New(w.node, c)
		require.NoError(t, err)
		w.dialer.Handle("http://node/whip/", w.origin)
		f(t, w)
	})
}

func (w *world) note(e cdn.Event) {
	w.mu.Lock()
	w.events = append(w.events, strings.TrimPrefix(fmt.Sprintf("%T", e), "cdn."))
	w.mu.Unlock()
	if w.told != nil {
		w.told(e)
	}
}

var (
	video = cdn.TrackInfo{Codec: cdn.Codec{MimeType: "video/VP8"}}
	sound = cdn.TrackInfo{Codec: cdn.Codec{MimeType: "audio/opus"}}
)

func (w *world) try(credential string, tracks ...cdn.TrackInfo) (*origin.Publication, error) {
	if tracks == nil {
		tracks = []cdn.TrackInfo{video, sound}
	}
	return w.origin.Publish(w.t.Context(), origin.PublishRequest{Stream: "live", Tracks: tracks, Credential: credential})
}

func (w *world) publish(credential string, tracks ...cdn.TrackInfo) *origin.Publication {
	p, err := w.try(credential, tracks...)
	require.NoError(w.t, err)
	w.t.Cleanup(func() { _ = p.Close() })
	return p
}

// vp8 is a frame.
func vp8(key bool, size int) []byte {
	frame := make([]byte, size)
	if copy(frame, []byte{0x11, 0, 0, 0x9d, 0x01, 0x2a}); key {
		frame[0] = 0x10
	}
	return frame
}

// send writes samples of both tracks for a time.
func send(t *testing.T, p *origin.Publication, d time.Duration) {
	for at := time.Duration(0); at < d; at += 20 * time.Millisecond {
		if at%(40*time.Millisecond) == 0 {
			require.NoError(t, p.Track("video").WriteSample(vp8(at == 0, 2000), 40*time.Millisecond))
		}
		if a := p.Track("audio"); a != nil {
			require.NoError(t, a.WriteSample([]byte{1, 2, 3}, 20*time.Millisecond))
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// open returns the stream as an edge would get it.
func (w *world) open() *cdn.Stream {
	sub, err := w.origin.Open(w.t.Context(), cdn.Request{Stream: "live"})
	require.NoError(w.t, err)
	return sub.Stream()
}

// reader reads a track of the stream from now on.
func reader(t *testing.T, s *cdn.Stream, track int, c cdn.ReaderConfig) *cdn.TrackReader {
	r, err := s.Tracks()[track].Reader(c)
	require.NoError(t, err)
	t.Cleanup(func() { _ = r.Close() })
	return r
}

// soon returns a context that ends in a second.
func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestSamplesArriveInSync(t *testing.T) {
	inWorld(t, origin.Config{}, func(t *testing.T, w *world) {
		p := w.publish("ada")
		require.Equal(t, "video", p.Tracks()[0].Info().ID)
		require.Nil(t, p.Track("video2"))
		s := w.open()
		pictures := reader(t, s, 0, cdn.ReaderConfig{Keyframe: true})
		noise := reader(t, s, 1, cdn.ReaderConfig{})
		send(t, p, 3*time.Second)
		require.NoError(t, p.Close())
		var first, last [2]cdn.Frame
		for i, r := range []*cdn.TrackReader{pictures, noise} {
			for n := 0; ; n++ {
				f, err := r.ReadFrame(soon(t))
				if err != nil {
					require.ErrorIs(t, err, cdn.ErrEnded)
					require.Equal(t, []int{75, 150}[i], n)
					break
				}
				if last[i] = f; n == 0 {
					first[i] = f
				}
				require.Zero(t, f.Lost)
				require.WithinDuration(t, f.Arrival, f.Time, 50*time.Millisecond)
			}
		}
		require.Equal(t, uint64(74*3600), last[0].Timestamp-first[0].Timestamp)
		require.Equal(t, uint64(149*960), last[1].Timestamp-first[1].Timestamp)
		clock, ok := s.Tracks()[0].Layers()[0].Clock()
		require.True(t, ok && !clock.Estimated, "samples have a clock")
		_, err := w.origin.Open(t.Context(), cdn.Request{Stream: "live"})
		require.ErrorIs(t, err, cdn.ErrNotFound, "Close ends the stream at once")
		require.ErrorIs(t, p.Track("video").WriteSample(vp8(true, 10), 0), cdn.ErrLeft)
	})
}

// Time goes on through a pause, and by empty samples.
func TestSamplesAfterAPause(t *testing.T) {
	inWorld(t, origin.Config{}, func(t *testing.T, w *world) {
		p := w.publish("ada", sound)
		r := reader(t, w.open(), 0, cdn.ReaderConfig{})
		write := func(data []byte, d time.Duration) { require.NoError(t, p.Track("audio").WriteSample(data, d)) }
		write([]byte{0}, 20*time.Millisecond)
		write(nil, 100*time.Millisecond)
		write([]byte{1}, 20*time.Millisecond)
		time.Sleep(3 * time.Second)
		write([]byte{2}, 20*time.Millisecond)
		time.Sleep(30 * time.Millisecond) // is no pause
		write([]byte{3}, 20*time.Millisecond)
		var at []uint64
		for range 4 {
			f, err := r.ReadFrame(soon(t))
			require.NoError(t, err)
			at = append(at, f.Timestamp)
		}
		require.Equal(t, []uint64{0, 120 * 48, 3_000 * 48, 3_020 * 48}, []uint64{0, at[1] - at[0], at[2] - at[0], at[3] - at[0]})
	})
}

func TestPacketsArriveAsTheyAre(t *testing.T) {
	inWorld(t, origin.Config{}, func(t *testing.T, w *world) {
		const level = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
		declared := sound
		declared.Extensions = []string{"urn:other", level}
		p := w.publish("ada", declared)
		r := reader(t, w.open(), 0, cdn.ReaderConfig{})
		for _, seq := range []uint16{7, 9, 8, 8, 10} {
			packet := &rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: seq, Timestamp: uint32(seq) * 960}, Payload: []byte{byte(seq)}}
			require.NoError(t, packet.SetExtension(2, []byte{byte(seq)}))
			require.NoError(t, p.Track("audio").WriteRTP(packet))
			require.Equal(t, []byte{byte(seq)}, packet.Payload)
		}
		var first uint64
		for i := range uint64(4) {
			got, err := r.ReadPacket(soon(t))
			require.NoError(t, err)
			if i == 0 {
				first = got.Seq
			}
			require.Equal(t, first+i, got.Seq)
			require.Equal(t, []byte{byte(7 + i)}, got.Payload)
			require.Equal(t, []byte{2, 1, byte(7 + i)}, got.Extensions)
		}
	})
}

func TestWhatCannotBePublished(t *testing.T) {
	inWorld(t, origin.Config{Codecs: []string{"video/VP8", "audio/opus", "video/theora"}}, func(t *testing.T, w *world) {
		h264 := cdn.TrackInfo{Codec: cdn.Codec{MimeType: "video/H264"}}
		named := func(id string) cdn.TrackInfo { return cdn.TrackInfo{ID: id, Codec: video.Codec} }
		layers := video
		layers.Layers = []string{"l", "l"}
		odd := sound
		odd.Kind = cdn.Video
		for name, tc := range map[string]struct {
			tracks []cdn.TrackInfo
			want   error
		}{
			"nothing":                {[]cdn.TrackInfo{}, cdn.ErrInvalid},
			"no codec":               {[]cdn.TrackInfo{{Kind: cdn.Video}}, cdn.ErrInvalid},
			"no clock rate":          {[]cdn.TrackInfo{{Codec: cdn.Codec{MimeType: "video/theora"}}}, cdn.ErrInvalid},
			"another kind":           {[]cdn.TrackInfo{odd}, cdn.ErrInvalid},
			"a name of two lines":    {[]cdn.TrackInfo{named("a\r\nb")}, cdn.ErrInvalid},
			"a codec of two lines":   {[]cdn.TrackInfo{{Codec: cdn.Codec{MimeType: "video/VP8", Fmtp: "a=1\r\nb=2"}}}, cdn.ErrInvalid},
			"a layer of two words":   {[]cdn.TrackInfo{{Codec: video.Codec, Layers: []string{"a b"}}}, cdn.ErrInvalid},
			"two of one name":        {[]cdn.TrackInfo{named("a"), named("a")}, cdn.ErrInvalid},
			"two layers of a name":   {[]cdn.TrackInfo{layers}, cdn.ErrInvalid},
			"a codec not taken":      {[]cdn.TrackInfo{h264}, cdn.ErrNoCommonCodec},
			"more than a stream has": {make([]cdn.TrackInfo, 9), cdn.ErrOverLimit},
		} {
			for i := range tc.tracks {
				if len(tc.tracks) == 9 {
					tc.tracks[i] = video
				}
			}
			_, err := w.try("ada", tc.tracks...)
			require.ErrorIs(t, err, tc.want, name)
		}
		_, err := w.origin.Publish(t.Context(), origin.PublishRequest{Stream: "live/../x", Tracks: []cdn.TrackInfo{video}, Credential: "ada"})
		require.ErrorIs(t, err, cdn.ErrInvalid)
		_, err = w.try("")
		require.ErrorIs(t, err, cdn.ErrUnauthorized)
		require.Empty(t, w.node.Sessions())
		require.Empty(t, w.node.Stats().Streams)

		p := w.publish("ada", video, sound, video)
		require.Equal(t, "video2", p.Tracks()[2].Info().ID, "two of a kind are two tracks")
		track := p.Track("video")
		require.ErrorIs(t, track.WriteSample(make([]byte, 3<<20), 0), cdn.ErrInvalid)
		require.ErrorIs(t, track.WriteSample(vp8(true, 100), -1), cdn.ErrInvalid)
		require.ErrorIs(t, track.WriteRTP(&rtp.Packet{Payload: make([]byte, 1401)}), cdn.ErrInvalid)
		require.ErrorIs(t, p.Track("audio").WriteSample(make([]byte, 2000), 0), cdn.ErrInvalid)
		require.NoError(t, track.WriteSample(vp8(true, 100), 0), "what was wrong was not sent, and the rest is")
		require.Nil(t, track.Layer("h"))
		require.Same(t, track, track.Layer(""))
	})
	inWorld(t, origin.Config{}, func(t *testing.T, w *world) {
		p := w.publish("ada", cdn.TrackInfo{Codec: cdn.Codec{MimeType: "audio/L16", ClockRate: 44100}})
		require.ErrorIs(t, p.Track("audio").WriteSample([]byte{1}, 0), cdn.ErrUnsupported)
		require.NoError(t, p.Track("audio").WriteRTP(&rtp.Packet{Payload: []byte{1}}))
	})
}

// A publisher by WHIP takes the stream over from the program and back, where both have
// the same subject, and viewers lose nothing.
func TestTakeoverByWHIPAndBack(t *testing.T) {
	inWorld(t, origin.Config{}, func(t *testing.T, w *world) {
		p := w.publish("ada")
		r := reader(t, w.open(), 0, cdn.ReaderConfig{})
		send(t, p, time.Second)

		whip := func(credential string) (*cdntest.Publisher, error) {
			return cdntest.NewPublisher(t.Context(), cdntest.PublisherConfig{
				Net: w.network.Host("publisher", cdntest.Path{}).Net(), Dialer: w.dialer, URL: "http://node/whip/live", Stream: "live", Credential: credential,
			})
		}
		_, err := whip("bob")
		require.ErrorIs(t, err, cdn.ErrAlreadyPublishing)
		_, err = w.try("bob")
		require.ErrorIs(t, err, cdn.ErrAlreadyPublishing)
		other, err := whip("ada")
		require.NoError(t, err)
		require.NoError(t, other.WaitConnected(t.Context()))
		<-p.Done()
		require.ErrorIs(t, p.Err(), cdn.ErrSuperseded)
		require.ErrorIs(t, p.Track("video").WriteSample(vp8(true, 100), 0), cdn.ErrSuperseded)
		time.Sleep(time.Second + 7*time.Millisecond) // not in the middle of a frame of the other one

		again := w.publish("ada")
		send(t, again, time.Second)
		require.Len(t, w.node.Sessions(), 1)
		require.NoError(t, again.Err())
		other.Kill()
		frames := drain(t, r)
		require.Greater(t, len(frames), 60)
		for i, f := range frames {
			require.Zero(t, f.Lost)
			require.True(t, i == 0 || f.Timestamp > frames[i-1].Timestamp)
		}
	})
}

// drain reads the frames that are there.
func drain(t *testing.T, r *cdn.TrackReader) (all []cdn.Frame) {
	for {
		f, err := r.ReadFrame(soon(t))
		if err != nil {
			require.ErrorIs(t, err, context.DeadlineExceeded)
			return all
		}
		all = append(all, f)
	}
}

// A program that says that it comes back is waited for, as a publisher is that was lost.
func TestGrace(t *testing.T) {
	inWorld(t, origin.Config{Grace: 3 * time.Second}, func(t *testing.T, w *world) {
		p := w.publish("ada")
		s := w.open()
		send(t, p, time.Second)
		p.End(cdn.ErrPeerLost)
		<-p.Done()
		time.Sleep(2 * time.Second)
		require.NoError(t, s.Err())
		again := w.publish("ada")
		require.Same(t, s, w.open())
		send(t, again, time.Second)
		again.End(cdn.ErrPeerLost)
		time.Sleep(3 * time.Second)
		synctest.Wait()
		require.ErrorIs(t, s.Err(), cdn.ErrPeerLost)
	})
}

// The session of a program is one as others are: it is listed, counted and ended.
func TestASessionOfAProgram(t *testing.T) {
	inWorld(t, origin.Config{}, func(t *testing.T, w *world) {
		p := w.publish("ada")
		info := w.node.Sessions()[0]
		require.Equal(t, p.Session(), info.Session)
		require.Equal(t, cdn.ActionPublish, info.Action)
		require.Equal(t, "ada", info.Subject)
		require.False(t, info.HalfOpen)
		send(t, p, time.Second)
		require.Equal(t, uint64(50+25*2), w.node.Stats().Totals.Publishers.Received.Packets)
		require.NoError(t, w.node.EndSession(p.Session(), fmt.Errorf("%w: enough", cdn.ErrForbidden)))
		<-p.Done()
		require.ErrorContains(t, p.Err(), "enough")
		synctest.Wait()
		require.Empty(t, w.node.Sessions())
		require.Empty(t, w.node.Stats().Streams)
		require.Equal(t, uint64(50+25*2), w.node.Stats().Totals.Publishers.Received.Packets)
		w.mu.Lock()
		defer w.mu.Unlock()
		require.Contains(t, w.events, "SessionStarted")
		require.Contains(t, w.events, "SessionEnded")
	})
}

func TestGrantsBindPrograms(t *testing.T) {
	inWorld(t, origin.Config{Grace: -1}, func(t *testing.T, w *world) {
		p := w.publish("brief")
		time.Sleep(1100 * time.Millisecond)
		synctest.Wait()
		require.ErrorIs(t, p.Err(), cdn.ErrExpired)

		p = w.publish("slow")
		for i := 0; p.Err() == nil && i < 1000; i++ {
			_ = p.Track("video").WriteSample(vp8(i == 0, 4000), 40*time.Millisecond)
			time.Sleep(40 * time.Millisecond)
		}
		require.ErrorIs(t, p.Err(), cdn.ErrOverLimit)
	})
}

// Requests for keyframes come to the program, for the layer that needs one.
func TestKeyframeRequests(t *testing.T) {
	inWorld(t, origin.Config{}, func(t *testing.T, w *world) {
		simulcast := video
		simulcast.Layers = []string{"l", "h"}
		asked := make(chan string, 100)
		p, err := w.origin.Publish(t.Context(), origin.PublishRequest{
			Stream: "live", Tracks: []cdn.TrackInfo{simulcast}, Credential: "ada",
			KeyframeRequested: func(track, layer string) { asked <- track + " " + layer },
		})
		require.NoError(t, err)
		track := p.Track("video")
		for range 20 {
			require.NoError(t, track.WriteSample(vp8(true, 500), 40*time.Millisecond))
			require.NoError(t, track.Layer("h").WriteSample(vp8(true, 1000), 40*time.Millisecond))
			time.Sleep(40 * time.Millisecond)
		}
		for len(asked) > 0 {
			<-asked
		}
		r := reader(t, w.open(), 0, cdn.ReaderConfig{Layer: "h"})
		_, err = r.ReadFrame(soon(t))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, "video h", <-asked)
		require.NoError(t, p.Close())
	})
}

// Close and the node's end leave nothing.
func TestNothingIsLeftOfPublications(t *testing.T) {
	inWorld(t, origin.Config{}, func(t *testing.T, w *world) {
		before := bubble.Goroutines()
		for range 20 {
			p := w.publish("ada")
			send(t, p, 100*time.Millisecond)
			require.NoError(t, p.Close())
			require.NoError(t, p.Close())
		}
		require.LessOrEqual(t, bubble.Goroutines(), before)
		p := w.publish("ada")
		require.NoError(t, w.origin.Close())
		<-p.Done()
		require.ErrorIs(t, p.Err(), cdn.ErrClosed)
		_, err := w.try("ada")
		require.ErrorIs(t, err, cdn.ErrClosed)
	})
}
