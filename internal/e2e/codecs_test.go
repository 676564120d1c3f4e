package delta_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/origin"
)

// h264Formats has a media engine know Opus and the video formats named: VP8, or a
// profile-level-id of H.264.
func h264Formats(ids ...string) func(*webrtc.MediaEngine) {
	return func(m *webrtc.MediaEngine) {
		opus := webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2}
		_ = m.RegisterCodec(webrtc.RTPCodecParameters{RTPCodecCapability: opus, PayloadType: 111}, webrtc.RTPCodecTypeAudio)
		for i, id := range ids {
			c := webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeH264, ClockRate: 90000, SDPFmtpLine: strings.Replace(h264Fmtp, "42e01f", id, 1)}
			if id == "VP8" {
				c = webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8, ClockRate: 90000}
			}
			_ = m.RegisterCodec(webrtc.RTPCodecParameters{RTPCodecCapability: c, PayloadType: webrtc.PayloadType(96 + i)}, webrtc.RTPCodecTypeVideo)
		}
	}
}

// What is taken of a publisher that offers several formats is what most viewers
// can decode, and a decoder of a higher profile gets a lower one: whoever offers
// one of them sees the picture (algesten/str0m issue 1015 has Safari's order).
func TestAPhonesOrderOfFormats(t *testing.T) {
	noParameters := func(s string) string { return dropLines(s, "a=fmtp:96", "a=fmtp:97") }
	for name, c := range map[string]struct {
		published []string
		ids       []string
		edit      func(string) string
	}{
		"iPhone":                   {nil, []string{"640c34", "42e034", "VP8"}, nil},
		"Chrome with High":         {nil, []string{"VP8", "42001f", "42e01f", "4d001f", "64001f"}, nil},
		"Chromium without High":    {nil, []string{"VP8", "42001f", "42e01f", "4d001f", "f4001f"}, nil},
		"Firefox with OpenH264":    {nil, []string{"VP8", "42e01f"}, nil},
		"High alone":               {nil, []string{"64001f"}, nil},
		"without a profile":        {nil, []string{"42e01f"}, noParameters},
		"without a profile, High":  {[]string{"640c34"}, []string{"42e01f"}, noParameters},
		"High 4:4:4, High is sent": {[]string{"640c34"}, []string{"VP8", "42e01f", "f4001f"}, nil},
		"Opus without channels": {nil, []string{"42e01f"}, func(s string) string {
			return strings.ReplaceAll(s, "opus/48000/2", "OPUS/48000")
		}},
	} {
		if c.published == nil {
			c.published = []string{"640c34", "42e034", "VP8"}
		}
		for _, hop := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, hop %t", name, hop), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t)
					path := cdntest.Path{Delay: ms(5)}
					o := w.origin("origin", path, origin.Config{})
					at := o
					if hop {
						at = w.edge("edge", path, edge.Config{}, o)
					}
					a, v := opusTrack(), videoTrack(webrtc.MimeTypeH264)
					_, err := rawPublish(t, w, o, "live", w.network.Host("pub", path), h264Formats(c.published...), nil, a, v)
					require.NoError(t, err)
					start := time.Now()
					var view *rawViewer
					for n := range 100 {
						time.Sleep(time.Until(start.Add(time.Duration(n) * 33 * time.Millisecond)))
						b := slice(0x41, n)
						if n%30 == 0 {
							b = stapA(sps, pps, slice(0x65, n))
						}
						_ = a.send(rtp.Header{SequenceNumber: uint16(n), Timestamp: uint32(n * 1584)}, make([]byte, 60))
						_ = v.send(rtp.Header{SequenceNumber: uint16(n), Timestamp: uint32(n * 2970), Marker: true}, b)
						if n == 20 {
							view, err = rawView(t, w, at, "live", w.network.Host("view", path), h264Formats(c.ids...), c.edit, webrtc.RTPCodecTypeAudio, webrtc.RTPCodecTypeVideo)
							require.NoError(t, err)
						}
					}
					require.NotEmpty(t, view.packets("audio"), v.codecOf())
					require.NotEmpty(t, view.packets("video"), v.codecOf())
					require.NotContains(t, view.answer, "a=inactive")
				})
			})
		}
	}
}

// A publisher that comes back with a format that viewers' decoders contain goes
// on where the one before it ended.
func TestALowerProfileFollowsAHigherOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		path := cdntest.Path{Delay: ms(5)}
		o := w.origin("origin", path, origin.Config{Takeover: origin.TakeoverAlways})
		e := w.edge("edge", path, edge.Config{}, o)
		var view *rawViewer
		publish := func(host, id string, from int) {
			v := videoTrack(webrtc.MimeTypeH264)
			_, err := rawPublish(t, w, o, "live", w.network.Host(host, path), h264Formats(id), nil, v)
			require.NoError(t, err)
			start := time.Now()
			for n := range 60 {
				time.Sleep(time.Until(start.Add(time.Duration(n) * 33 * time.Millisecond)))
				b := slice(0x41, n)
				if n%30 == 0 {
					b = stapA(sps, pps, slice(0x65, n))
				}
				_ = v.send(rtp.Header{SequenceNumber: uint16(n), Timestamp: uint32(from + n*2970), Marker: true}, b)
				if n == 20 && view == nil {
					view, err = rawView(t, w, e, "live", w.network.Host("view", path), h264Formats("64001f"), nil, webrtc.RTPCodecTypeVideo)
					require.NoError(t, err)
				}
			}
		}
		publish("first", "64001f", 1_000_000)
		before := len(view.packets("video"))
		publish("second", "42e01f", 700_000_000)
		require.Greater(t, len(view.packets("video")), before+50)
		require.Empty(t, view.goodbyes())
		publish("third", "64001f", 2_000_000_000)
		require.Empty(t, view.goodbyes(), "nor does the first one's profile break anything")
		require.Greater(t, len(view.packets("video")), before+100)
	})
}

// A viewer is never sent packets of a codec that was not negotiated, though it was
// answered while it was not known what would be published (ossrs/srs issue 4738).
func TestAViewerThatWaitsForAnotherCodec(t *testing.T) {
	for name, c := range map[string]struct {
		video string
		audio bool
		plays bool // otherwise it is refused, or its session ends
	}{
		"VP8 and Opus":   {webrtc.MimeTypeVP8, true, false},
		"VP8 alone":      {webrtc.MimeTypeVP8, false, false},
		"H.264 and Opus": {webrtc.MimeTypeH264, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				path := cdntest.Path{Delay: ms(5)}
				o := w.origin("origin", path, origin.Config{})
				e := w.edge("edge", path, edge.Config{Wait: time.Minute}, o)
				var view *rawViewer
				var viewErr error
				done := make(chan struct{})
				go func() {
					defer close(done)
					view, viewErr = rawView(t, w, e, "live", w.network.Host("view", path), only(webrtc.MimeTypeH264, h264Fmtp), nil, webrtc.RTPCodecTypeAudio, webrtc.RTPCodecTypeVideo)
				}()
				time.Sleep(3 * time.Second)
				a, v := opusTrack(), videoTrack(c.video)
				tracks := []*rawTrack{v}
				if c.audio {
					tracks = append(tracks, a)
				}
				fmtp := ""
				if c.video == webrtc.MimeTypeH264 {
					fmtp = h264Fmtp
				}
				_, err := rawPublish(t, w, o, "live", w.network.Host("pub", path), only(c.video, fmtp), nil, tracks...)
				require.NoError(t, err)
				start := time.Now()
				for n := range 100 {
					at := time.Duration(n) * 50 * time.Millisecond
					time.Sleep(time.Until(start.Add(at)))
					if c.audio {
						_ = a.send(rtp.Header{SequenceNumber: uint16(n), Timestamp: uint32(at.Seconds() * 48000)}, make([]byte, 60))
					}
					b := vp8Picture(n%20 == 0, n)
					if fmtp != "" {
						b = slice(0x41, n)
						if n%20 == 0 {
							b = stapA(sps, pps, slice(0x65, n))
						}
					}
					_ = v.send(rtp.Header{SequenceNumber: uint16(n), Timestamp: uint32(at.Seconds() * 90000), Marker: true}, b)
				}
				<-done
				if viewErr != nil {
					require.False(t, c.plays, viewErr)
					return
				}
				ended := false
				select {
				case <-view.ended:
					ended = true
				default:
				}
				require.Equal(t, c.plays, len(view.packets("video")) > 0)
				if !c.plays && len(view.packets("audio")) == 0 { // sound alone is right, too
					require.True(t, ended)
				}
			})
		})
	}
}

// A publisher that comes back with another codec ends the session of a viewer that
// cannot follow, with a goodbye; and who comes again gets the new one.
func TestAPublisherComesBackWithAnotherCodec(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		path := cdntest.Path{Delay: ms(5)}
		o := w.origin("origin", path, origin.Config{Takeover: origin.TakeoverAlways})
		e := w.edge("edge", path, edge.Config{}, o)
		v := videoTrack(webrtc.MimeTypeH264)
		_, err := rawPublish(t, w, o, "live", w.network.Host("pub", path), only(webrtc.MimeTypeH264, h264Fmtp), nil, v)
		require.NoError(t, err)
		start := time.Now()
		var view, again *rawViewer
		for n := range 100 {
			time.Sleep(time.Until(start.Add(time.Duration(n) * 33 * time.Millisecond)))
			b := slice(0x41, n)
			if n%30 == 0 {
				b = stapA(sps, pps, slice(0x65, n))
			}
			_ = v.send(rtp.Header{SequenceNumber: uint16(n), Timestamp: uint32(n * 2970), Marker: true}, b)
			if n == 20 {
				view, err = rawView(t, w, e, "live", w.network.Host("view", path), nil, nil, webrtc.RTPCodecTypeVideo)
				require.NoError(t, err)
			}
		}
		v2 := videoTrack(webrtc.MimeTypeVP8)
		_, err = rawPublish(t, w, o, "live", w.network.Host("pub2", path), only(webrtc.MimeTypeVP8, ""), nil, v2)
		require.NoError(t, err)
		taken := time.Now()
		for n := range 150 {
			time.Sleep(time.Until(taken.Add(time.Duration(n) * 33 * time.Millisecond)))
			_ = v2.send(rtp.Header{SequenceNumber: uint16(n), Timestamp: uint32(n * 2970), Marker: true}, vp8Picture(n%30 == 0, n))
			if n == 60 {
				again, err = rawView(t, w, e, "live", w.network.Host("again", path), nil, nil, webrtc.RTPCodecTypeVideo)
				require.NoError(t, err)
			}
		}
		require.NotEmpty(t, view.goodbyes())
		for _, p := range view.packets("video") {
			require.False(t, p.at.After(taken.Add(100*time.Millisecond)))
		}
		require.NotEmpty(t, again.packets("video"))
	})
}
