package codec

import (
	"encoding/binary"
	"testing"

	"github.com/pion/rtp/codecs"
	"github.com/pion/rtp/codecs/av1/obu"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// av1Key is a sequence header of libaom, then the beginning of its keyframe:
// Y, W=2, N.
const av1Key = "68 0b 0800000002aff79b5f2008 30 1000900008208220"

func av1Payloads() []inspection {
	return []inspection{
		{"coded video sequence", av1Key, keyframe},
		{"coded video sequence, W=0", "08 0b 0800000002aff79b5f2008 09 30 1000900008208220", keyframe},
		{"temporal delimiter before it", "38 01 10 0b 0800000002aff79b5f2008 30 1000", keyframe},
		{"N with a frame alone", "18 30 10009000", keyframe},
		{"N with Z", "98 30 10009000", nothing},
		{"middle of the keyframe", "d0 dd2b4fc594acbfd4", nothing},
		{"end of the keyframe", "90 dd2b4fc594acbfd4", nothing},
		{"inter frame", "10 30 30032000", start},
		{"inter frame that goes on", "50 30 30032000", start},
		{"inter frame, W=0", "00 05 30 30032000", start},
		{"frame header and tile group", "20 04 18 300320 20 dd2b", start},
		{"redundant frame header", "10 38 300320", nothing},
		{"tile group", "10 20 dd2b4f", nothing},
		{"metadata", "10 28 0102", nothing},
		{"base spatial layer, second temporal layer", "10 34 20 3003", start},
		{"upper spatial layer", "10 34 08 3003", nothing},
		{"sequence header without N", "20 0b 0800000002aff79b5f2008 30 3003", start},
		{"first OBU of 128 bytes or more", "28 8101 " + zeros(129) + "30", keyframe},
		{"header only", "18", nothing},
		{"frame without its extension", "10 34", nothing},
		{"frame of a header", "10 30", nothing},
		{"frame of a header and its extension", "10 34 20", nothing},
		{"OBU length without OBU", "28 0b", nothing},
		{"OBU length cut off", "28 80", nothing},
		{"OBU of no length", "28 00 30", nothing},
		{"OBU length too long", "28 ffffffffffffffffffff 30", nothing},
		{"OBU longer than the packet", "28 7f 0800", nothing},
	}
}

// zeros returns n bytes.
func zeros(n int) string {
	b := make([]byte, 2*n)
	for i := range b {
		b[i] = '0'
	}
	return string(b)
}

func TestAV1(t *testing.T) { testInspector(t, "video/AV1", av1Payloads()) }

// TestAV1OfPion inspects what pion's packetizer makes of a keyframe and a frame
// after it: OBUs with size fields, and temporal delimiters, as in a file.
func TestAV1OfPion(t *testing.T) {
	frame := func(head string, size int) []byte {
		obu := append([]byte{0x32}, binary.AppendUvarint(nil, uint64(size))...)
		body := make([]byte, size)
		copy(body, payload(t, head))
		return append(obu, body...)
	}
	key := append(payload(t, "1200 0a0a00000002aff79b5f2008"), frame("1000900008208220", 1112)...)
	inter := append(payload(t, "1200"), frame("30032000", 700)...)

	var packetizer codecs.AV1Payloader
	for name, tc := range map[string]struct {
		unit  []byte
		first Info
	}{"keyframe": {key, keyframe}, "inter frame": {inter, start}} {
		packets := packetizer.Payload(300, tc.unit)
		require.Greater(t, len(packets), 2, name)
		assert.Equal(t, tc.first, av1(packets[0]), name)
		for _, p := range packets[1:] {
			assert.Equal(t, nothing, av1(p), name)
		}
	}
}

// FuzzAV1 compares with pion's reading of the aggregation header.
func FuzzAV1(f *testing.F) {
	seed(f, av1Payloads())
	f.Fuzz(func(t *testing.T, p []byte) {
		info := av1(p)
		assert.False(t, info.Keyframe && !info.FrameStart)
		assert.False(t, info.FrameStart && p[0]&0x80 != 0, "Z")
		var want codecs.AV1Depacketizer
		if _, err := want.Unmarshal(p); err != nil {
			return
		}
		// Where a length comes first, it may be 0.
		length, _, _ := obu.ReadLeb128(p[1:])
		empty := p[0]&0x30 != 0x10 && length == 0
		assert.Equal(t, want.N && !want.Z && !empty, info.Keyframe)
	})
}
