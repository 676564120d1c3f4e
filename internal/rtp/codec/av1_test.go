package codec

import (
	"encoding/binary"
	"testing"

	"github.com/pion/rtp/codecs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// av1Key is a sequence header of libaom, then the beginning of its keyframe:
// Y, W=2, N.
const av1Key = "68 0b 0800000002aff79b5f2008 30 1000900008208220"

func av1Payloads() []inspection {
	return []inspection{
		{"coded video sequence", av1Key, with(keyframe, SequenceSet, true)},
		{"coded video sequence, W=0", "08 0b 0800000002aff79b5f2008 09 30 1000900008208220", with(keyframe, SequenceSet, true)},
		{"temporal delimiter before it", "38 01 10 0b 0800000002aff79b5f2008 30 1000", with(keyframe, SequenceSet, true)},
		{"N with a frame alone", "18 30 10009000", keyframe},
		{"N with an inter frame", "18 30 30032000", start},
		{"key frame without N", "10 30 10009000", keyframe},
		{"key frame that is not shown", "18 30 00009000", start},
		{"key frame shown again", "18 30 90009000", start},
		{"intra-only frame", "18 30 50009000", start},
		{"switch frame", "18 30 70009000", start},
		{"key frame header and tile group", "20 04 18 100320 20 dd2b", keyframe},
		{"key frame with a size field", "10 32 04 10009000", keyframe},
		{"key frame of the base layer, with an extension", "10 34 00 1000", keyframe},
		{"key frame of an upper spatial layer", "10 34 08 1000", nothing},
		{"reduced still picture", "28 04 08 180000 30 0000", with(keyframe, SequenceSet, true)},
		{"sequence header alone", "18 0800000002aff79b5f2008", sps},
		{"sequence header that goes on", "58 0800000002aff79b5f2008", with(start, SequenceSet, true)},
		{"sequence header and metadata", "20 0b 0800000002aff79b5f2008 28 0102", with(start, SequenceSet, true)},
		{"metadata, then a key frame", "20 03 28 0102 30 10009000", nothing},
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
		{"sequence header without N", "20 0b 0800000002aff79b5f2008 30 3003", with(start, SequenceSet, true)},
		{"first OBU of 128 bytes or more", "28 8101 " + "08" + zeros(128) + "30 1000", with(keyframe, SequenceSet, true)},
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
	}{"keyframe": {key, with(keyframe, SequenceSet, true)}, "inter frame": {inter, start}} {
		packets := packetizer.Payload(300, tc.unit)
		require.Greater(t, len(packets), 2, name)
		assert.Equal(t, tc.first, av1(packets[0]), name)
		for _, p := range packets[1:] {
			assert.Equal(t, nothing, av1(p), name)
		}
	}
}

// FuzzAV1: a packet that goes on with an OBU begins nothing, and what pion finds
// to be malformed is no keyframe.
func FuzzAV1(f *testing.F) {
	seed(f, av1Payloads())
	f.Fuzz(func(t *testing.T, p []byte) {
		info := av1(p)
		assert.False(t, info.Keyframe && !info.FrameStart)
		assert.False(t, info.FrameStart && p[0]&0x80 != 0, "Z")
		assert.False(t, info.Mixed && info.Parameters == 0)
	})
}
