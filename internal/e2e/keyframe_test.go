package delta_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
	"github.com/pion/webrtc/v4"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/origin"
)

// Parameter sets of H.264, constrained baseline.
var (
	sps = []byte{0x67, 0x42, 0xc0, 0x1f, 0xda, 0x01, 0x40, 0x16, 0xe8, 0x40}
	pps = []byte{0x68, 0xce, 0x3c, 0x80}
)

func stapA(nals ...[]byte) []byte {
	b := []byte{24}
	for _, n := range nals {
		b = append(b, byte(len(n)>>8), byte(len(n)))
		b = append(b, n...)
	}
	return b
}

// slice is an H.264 slice of frame n, the first of its picture.
func slice(kind byte, n int) []byte {
	return append([]byte{kind, 0x88, byte(n >> 8), byte(n)}, make([]byte, 300)...)
}

// h265Slice is an H.265 slice of frame n, the first of its picture.
func h265Slice(kind byte, n int) []byte {
	return append([]byte{kind << 1, 1, 0xaf, byte(n >> 8), byte(n)}, make([]byte, 300)...)
}

// The first frame that a viewer is sent can be decoded alone, and it gets the
// parameter sets ahead of it, whatever else the publisher repeats with other
// frames (mediasoup issue 283, ion-sfu PR 551, Janus issue 1991). The publisher
// here answers no request for a keyframe.
func TestAViewerBeginsWithAFrameThatStandsAlone(t *testing.T) {
	const idr, inter = 5, 1
	h264 := func(p []byte) int { return int(p[0] & 31) }
	h265Sets := [][]byte{{32 << 1, 1, 0x0c, 1}, {33 << 1, 1, 1, 1}, {34 << 1, 1, 0xc1, 0x72}}
	for name, c := range map[string]struct {
		mime, fmtp string
		sets       [][]byte // a packet each, with each second's frame
		key, delta func(n int) []byte
		isSets     func(p []byte) bool
		isKey      func(p []byte) bool
	}{
		"H.264, sets in one packet": {
			webrtc.MimeTypeH264, h264Fmtp,
			[][]byte{stapA(sps, pps)},
			func(n int) []byte { return slice(0x60|idr, n) }, func(n int) []byte { return slice(0x40|inter, n) },
			func(p []byte) bool { return h264(p) == 24 }, func(p []byte) bool { return h264(p) == idr },
		},
		"H.264, sets in a packet each": {
			webrtc.MimeTypeH264, h264Fmtp,
			[][]byte{sps, pps},
			func(n int) []byte { return slice(0x60|idr, n) }, func(n int) []byte { return slice(0x40|inter, n) },
			func(p []byte) bool { return h264(p) == 7 || h264(p) == 8 }, func(p []byte) bool { return h264(p) == idr },
		},
		"H.265": {
			webrtc.MimeTypeH265, "", h265Sets,
			func(n int) []byte { return h265Slice(19, n) }, func(n int) []byte { return h265Slice(1, n) },
			func(p []byte) bool { return p[0]>>1 >= 32 && p[0]>>1 <= 34 }, func(p []byte) bool { return p[0]>>1 == 19 },
		},
		// pion's packetizer sets no P bit in flexible mode.
		"VP9 whose descriptor tells nothing": {
			webrtc.MimeTypeVP9, "", nil,
			func(n int) []byte { return vp9Frame([]byte{0x82, 0x49, 0x83, 0x42, 0, 0x4f, 0xf0, 0x2f, 0xf0}, n) },
			func(n int) []byte { return vp9Frame([]byte{0x86, 0x00, 0x40, 0x92}, n) },
			nil, func(p []byte) bool { return p[3] == 0x82 },
		},
	} {
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
					v := videoTrack(c.mime)
					_, err := rawPublish(t, w, o, "live", w.network.Host("pub", path), only(c.mime, c.fmtp), nil, v)
					require.NoError(t, err)
					var view *rawViewer
					seq := uint16(0)
					send := func(n int, last bool, payload []byte) {
						require.NoError(t, v.send(rtp.Header{SequenceNumber: seq, Timestamp: uint32(n * 3000), Marker: last}, payload))
						seq++
					}
					start := time.Now()
					for n := range 24 * 30 {
						time.Sleep(time.Until(start.Add(time.Duration(n) * time.Second / 30)))
						for _, set := range c.sets {
							if n%30 == 0 {
								send(n, false, set)
							}
						}
						if n%300 == 0 {
							send(n, true, c.key(n))
						} else {
							send(n, true, c.delta(n))
						}
						switch {
						case n == 165: // 5.5 s after the keyframe
							view, err = rawView(t, w, at, "live", w.network.Host("view", path), only(c.mime, c.fmtp), nil, webrtc.RTPCodecTypeVideo)
							require.NoError(t, err)
						case n > 165 && n%15 == 0 && n < 290:
							view.pli("video")
						}
					}
					got := view.packets("video")
					require.Greater(t, len(got), len(c.sets))
					for _, p := range got[:len(c.sets)] {
						require.True(t, c.isSets(p.data), "its parameter sets come first")
					}
					require.True(t, c.isKey(got[len(c.sets)].data), "the first frame is a keyframe")
				})
			})
		}
	}
}

// vp9Frame is a frame as pion packetizes it in flexible mode.
func vp9Frame(header []byte, n int) []byte {
	p := codecs.VP9Payloader{FlexibleMode: true, InitialPictureIDFn: func() uint16 { return uint16(n) }}
	return p.Payload(1200, append(header, make([]byte, 300)...))[0]
}

// B-frames are sent in decoding order, so timestamps go back and forth (several
// issues of mediamtx, OBS PR 7926). A viewer that joins in mid-GOP gets all from
// the IDR on, in order, and the publisher's steps of time once it is live.
func TestBFrames(t *testing.T) {
	for _, at := range []int{95, 140, 178} {
		t.Run(fmt.Sprint("joined at frame ", at), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				path := cdntest.Path{Delay: ms(5)}
				o := w.origin("origin", path, origin.Config{})
				e := w.edge("edge", path, edge.Config{}, o)
				v := videoTrack(webrtc.MimeTypeH264)
				_, err := rawPublish(t, w, o, "live", w.network.Host("pub", path), only(webrtc.MimeTypeH264, h264Fmtp), nil, v)
				require.NoError(t, err)
				var view *rawViewer
				shown := map[int]int{} // place in order of display, by number
				start := time.Now()
				for n := range 400 {
					time.Sleep(time.Until(start.Add(time.Duration(n) * time.Second / 30)))
					b := slice(0x41, n)
					switch in := n % 90; {
					case in == 0:
						shown[n], b = n, stapA(sps, pps, slice(0x65, n))
					case in%3 == 1: // shown behind two B-frames
						shown[n] = n + 2
					default:
						shown[n], b = n-1, slice(0x01, n)
					}
					require.NoError(t, v.send(rtp.Header{SequenceNumber: uint16(n), Timestamp: uint32(shown[n] * 3000), Marker: true}, b))
					if n == at {
						view, err = rawView(t, w, e, "live", w.network.Host("view", path), only(webrtc.MimeTypeH264, h264Fmtp), nil, webrtc.RTPCodecTypeVideo)
						require.NoError(t, err)
					}
				}
				number := func(p got) int {
					i := 2
					if p.data[0]&31 == 24 {
						i = len(p.data) - 302
					}
					return int(p.data[i])<<8 | int(p.data[i+1])
				}
				ps := view.packets("video")
				require.Equal(t, byte(24), ps[0].data[0]&31)
				for i := 1; i < len(ps); i++ {
					a, b := number(ps[i-1]), number(ps[i])
					require.Equal(t, a+1, b, "none is missing")
					step, want := int32(ps[i].h.Timestamp-ps[i-1].h.Timestamp), int32((shown[b]-shown[a])*3000)
					require.Equal(t, want > 0, step > 0, "frame %d", b)
					if b > at+60 {
						require.Equal(t, want, step, "frame %d", b)
					}
				}
			})
		})
	}
}
