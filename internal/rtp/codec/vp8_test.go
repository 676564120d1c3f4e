package codec

import (
	"testing"

	"github.com/pion/rtp/codecs"
	"github.com/stretchr/testify/assert"
)

// vp8Chrome begins a keyframe, with all identifiers: picture ID 0x123,
// TL0PICIDX 5, TID 0 with Y, KEYIDX 3.
const vp8Chrome = "90 f0 8123 05 23 10 02 00 9d012a a0006000"

// vp8Payloads are as libvpx encodes and FFmpeg packetizes where no more is
// said: S with X and I, a 15-bit picture ID.
func vp8Payloads() []inspection {
	return []inspection{
		{"keyframe", "9080 8000 903200 9d012aa0006000 0047", keyframe},
		{"its second packet", "8080 8000 e8442a093cae3b40", nothing},
		{"P frame", "9080 8001 310500 1610ac00", start},
		{"its end", "8080 8002 0050", nothing},
		{"keyframe, all identifiers", vp8Chrome, keyframe},
		{"P frame, all identifiers", "90f0 8124 05 63 11 0200", start},
		{"keyframe, 7-bit picture ID", "9080 11 1002009d012a", keyframe},
		{"P frame, 7-bit picture ID", "9080 10 1102009d012a", start},
		{"keyframe, TL0PICIDX only", "9040 01 1002009d012a", keyframe},
		{"keyframe, TID only", "9020 01 1002009d012a", keyframe},
		{"keyframe, bare descriptor", "10 1002009d012a", keyframe},
		{"P bit of 0 without a start code", "10 1002009d012b", claimed},
		{"P bit of 0, cut off ahead of the start code", "10 100200", claimed},
		{"P frame, bare descriptor", "10 11020000", start},
		{"droppable P frame", "b080 8005 11020000", start},
		{"reserved bits are ignored", "58 1002009d012a", keyframe},
		{"second partition", "11 1002009d012a", nothing},
		{"last partition", "17 1002009d012a", nothing},
		{"middle of a partition", "00 1002009d012a", nothing},
		{"no frame", "10", nothing},
		{"no frame after identifiers", "90f0 8123 05 23", nothing},
		{"cut before the extension", "90", nothing},
		{"cut before the picture ID", "9080", nothing},
		{"cut in the picture ID", "9080 81", nothing},
		{"cut before TL0PICIDX", "90c0 8123", nothing},
		{"cut before KEYIDX", "90f0 8123 05", nothing},
	}
}

func TestVP8(t *testing.T) { testInspector(t, "video/VP8", vp8Payloads()) }

// FuzzVP8 compares with pion's reading of the descriptor.
func FuzzVP8(f *testing.F) {
	seed(f, vp8Payloads())
	f.Fuzz(func(t *testing.T, p []byte) {
		var want codecs.VP8Packet
		data, err := want.Unmarshal(p)
		if err != nil {
			assert.Equal(t, nothing, vp8(p))
			wantNoPicture(t, PicturesFor("video/VP8"), p)
			return
		}
		begins := want.S == 1 && want.PID == 0 && len(data) > 0
		got := vp8(p)
		assert.Equal(t, begins, got.FrameStart)
		assert.Equal(t, begins && data[0]&1 == 0, got.Keyframe)
		if got.Keyframe && !got.Unproved {
			assert.Equal(t, []byte{0x9d, 0x01, 0x2a}, data[3:6])
		}

		picture := Picture{ID: -1, TL0: -1, KeyIdx: -1}
		if want.I == 1 {
			picture.ID, picture.Wide = int32(want.PictureID), p[2]&0x80 != 0
			if !picture.Wide {
				picture.ID &= 0x7f
			}
		}
		if want.L == 1 {
			picture.TL0 = int16(want.TL0PICIDX)
		}
		if want.K == 1 {
			picture.KeyIdx = int16(want.KEYIDX)
		}
		read, ok := readVP8(p)
		assert.Equal(t, picture, read)
		assert.Equal(t, want.I|want.L|want.K == 1, ok)
	})
}
