package codec

import (
	"testing"

	"github.com/pion/rtp/codecs"
	"github.com/stretchr/testify/assert"
)

// vp9Chrome begins a keyframe in non-flexible mode: picture ID 0x123, TID and
// SID 0, TL0PICIDX 5, then a scalability structure of one 160x96 layer.
const vp9Chrome = "aa 8123 00 05 18 00a00060 01 04 01 8249834200"

func vp9Payloads() []inspection {
	return []inspection{
		{"non-flexible keyframe", vp9Chrome, keyframe},
		{"its second packet", "a0 8123 00 05 12ad", nothing},
		{"its last packet", "a4 8123 00 05 12ad", nothing},
		{"non-flexible P frame", "ec 8124 50 05 86004092", start},
		{"keyframe of the upper spatial layer", "a8 8123 03 05 8200", nothing},
		{"P frame of the upper spatial layer", "e8 8124 03 05 8600", nothing},
		{"flexible keyframe", "b8 8123 00 824983", keyframe},
		{"flexible P frame, one reference", "f8 8124 00 02 860040", start},
		{"flexible upper layer", "b8 8123 03 824983", nothing},
		{"flexible without layers", "98 8123 824983", keyframe},
		{"flexible P frame without layers", "d8 8123 02 860040", start},
		{"7-bit picture ID", "88 23 824983", keyframe},
		{"layers without a picture ID", "28 00 05 824983", keyframe},
		// End-to-end encrypted: only the descriptor can be believed.
		{"encrypted keyframe", "a8 8123 00 05 ffff", keyframe},
		{"encrypted keyframe, behind a structure", "aa 8123 00 05 18 00a00060 01 04 01 12349834", keyframe},
		{"encrypted, with a frame marker and no sync code", "a8 8123 00 05 82498343", keyframe},
		// pion's packetizer in flexible mode sets I, F, B and E, and never P.
		{"pion keyframe", "98 8123 82498342", keyframe},
		{"pion P frame", "98 8124 86004092", start},
		{"P frame behind a structure", "aa 8123 00 05 18 00a00060 01 04 01 8600", start},
		{"intra-only frame", "a8 8123 00 05 8424c1a1", start},
		{"old frame shown again", "a8 8123 00 05 88", start},
		{"base layer that claims to need the layer below", "a8 8123 01 05 82498342", start},
		{"structure cut off", "aa 8123 00 05 18 00a000", nothing},
		{"structure of groups cut off", "aa 8123 00 05 08 02 04", nothing},
		{"nothing behind the structure", "aa 8123 00 05 18 00a00060 01 04 01", nothing},
		// FFmpeg sets B and E, and never P.
		{"FFmpeg keyframe", "08 824983420009f005f606", keyframe},
		{"FFmpeg keyframe, profile 1", "08 a2498342e009f005f608", keyframe},
		{"FFmpeg keyframe, profile 3", "08 b124c1a100", keyframe},
		{"FFmpeg end of keyframe", "04 f6765c2f524d063b", nothing},
		{"FFmpeg P frame", "0c 86004092f0614000", start},
		{"FFmpeg P frame, profile 1", "0c a6004092f0e14000", start},
		{"FFmpeg P frame, profile 3", "0c b3004092", start},
		{"FFmpeg shows an old frame", "0c 88", start},
		{"FFmpeg shows an old frame, profile 3", "0c b4", start},
		{"no VP9 frame", "0c ff", start},
		{"FFmpeg's sender with P", "4c 82498342", start},
		{"no frame", "08", nothing},
		{"no frame after indices", "a8 8123 00 05", nothing},
		{"cut before the picture ID", "88", nothing},
		{"cut in the picture ID", "88 81", nothing},
		{"cut before layer indices", "a8 8123", nothing},
		{"cut before TL0PICIDX", "a8 8123 00", nothing},
	}
}

func TestVP9(t *testing.T) { testInspector(t, "video/VP9", vp9Payloads()) }

// FuzzVP9 compares with pion's reading of the descriptor, as far as that goes:
// it reads reference indices and the scalability structure as well.
func FuzzVP9(f *testing.F) {
	seed(f, vp9Payloads())
	f.Fuzz(func(t *testing.T, p []byte) {
		var want codecs.VP9Packet
		data, err := want.Unmarshal(p)
		got := vp9(p)
		assert.False(t, got.Keyframe && !got.FrameStart)
		if err != nil || len(data) == 0 {
			return
		}
		assert.Equal(t, want.B && want.SID == 0, got.FrameStart)
		if want.P || want.L && want.D {
			assert.False(t, got.Keyframe)
		}
		picture := Picture{ID: -1, TL0: -1, KeyIdx: -1}
		if want.I {
			picture.ID, picture.Wide = int32(want.PictureID), p[1]&0x80 != 0
		}
		if want.L && !want.F {
			picture.TL0 = int16(want.TL0PICIDX)
		}
		read, ok := readVP9(p)
		assert.Equal(t, picture, read)
		assert.Equal(t, want.I || want.L && !want.F, ok)
	})
}
