package codec

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
)

// Parameter sets as FFmpeg aggregates them, of x264 and x265.
const (
	h264Sets = "18 0017 6742c00ad9028db011000003000100000300140f122648 0005 68cb83cb20"
	h265Sets = "6001 0017 40010c01ffff0408000003009e0800000300001e959809 000a 42010104080000030000 0006 4401c172b090"
)

// h264Payloads are of x264 and FFmpeg as far as they can be.
func h264Payloads() []inspection {
	return []inspection{
		{"STAP-A of SPS and PPS", h264Sets, with(start, SequenceSet|PictureSet, false)},
		{"STAP-A of AUD and P slice", "18 0002 09f0 0004 419a381d", start},
		{"STAP-A of SPS, PPS and IDR slice", h264Sets + "0004 65888400", with(keyframe, SequenceSet|PictureSet, true)},
		{"STAP-A of SPS, PPS and P slice", h264Sets + "0004 419a381d", with(start, SequenceSet|PictureSet, true)},
		{"STAP-A of SPS, PPS, a recovery point and P slice", h264Sets + "0005 060601c480 0004 419a381d", with(start, SequenceSet|PictureSet, true)},
		{"STAP-A of SPS, PPS and SEI", h264Sets + "0003 0605ff", with(start, SequenceSet|PictureSet, true)},
		{"recovery point of intra refresh", "06 0601c480", nothing},
		{"STAP-A of SEI and IDR", "18 0003 0605ff 0004 65888400", keyframe},
		{"STAP-A of SEI and PPS", "18 0003 0605ff 0005 68cb83cb20", with(nothing, PictureSet, true)},
		{"STAP-A of a later slice", "18 0003 415a38", nothing},
		{"FU-A that starts an IDR slice", "7c85 88840ff2628000c3", keyframe},
		{"FU-A that goes on with it", "7c05 ac0fc000d0f89331", nothing},
		{"FU-A that ends it", "7c45 e032700032000200", nothing},
		{"FU-A that starts a later IDR slice", "7c85 48840ff2628000c3", nothing},
		{"FU-A that starts a P slice", "5c81 9a381de1", start},
		{"FU-A that starts an SPS", "7c87 42c00ad9", with(start, SequenceSet, true)},
		{"FU-A that starts an SEI", "1c86 05ffff69dc45e9bd", nothing},
		{"SPS", "67 42c00ad9028db011", sps},
		{"PPS", "68 cb83cb20", pps},
		{"AUD", "09 f0", start},
		{"SEI", "06 05ffff", nothing},
		{"IDR, first slice", "65 88840ff2", keyframe},
		{"IDR, later slice", "65 48840ff2", nothing},
		{"P, first slice", "41 9a381de1", start},
		{"P, later slice", "41 5a381de1", nothing},
		{"B that none refers to", "01 9e4174", start},
		{"data partition A", "42 9a381de1", start},
		{"data partition B", "43 9a381de1", nothing},
		{"FU-B of interleaved mode", "7d85 0000 88840f", nothing},
		{"header only", "67", nothing},
		{"FU-A without a header", "7c", nothing},
		{"FU-A without data", "7c87", nothing},
		{"empty STAP-A", "18", nothing},
		{"STAP-A cut in a length", "18 0002 6742 00", nothing},
		{"STAP-A cut in a NAL unit", "18 0002 6742 0005 68cb", nothing},
		{"STAP-A with an empty NAL unit", "18 0002 6742 0000", nothing},
	}
}

func TestH264(t *testing.T) { testInspector(t, "video/H264", h264Payloads()) }

// h265Payloads are of x265 and FFmpeg as far as they can be.
func h265Payloads() []inspection {
	return []inspection{
		{"AP of VPS, SPS and PPS", h265Sets, with(start, VideoSet|SequenceSet|PictureSet, false)},
		{"AP of AUD and P slice", "6001 0003 460150 0004 0201d009", start},
		{"AP of SEI and CRA", "6001 0004 4e010500 0004 2a01afff", keyframe},
		{"AP of PPS and SEI", "6001 0004 4401c172 0004 4e010500", with(nothing, PictureSet, true)},
		{"FU that starts an IDR slice", "6201 94 af1142b5780be256", keyframe},
		{"FU that goes on with it", "6201 14 2745d08e02429ea5", nothing},
		{"FU that ends it", "6201 54 fb8b8f3a41d4f755", nothing},
		{"FU that starts a later IDR slice", "6201 94 2f1142b5", nothing},
		{"FU that starts a CRA slice", "6201 95 ac08a9c410aca617", keyframe},
		{"FU that starts a P slice", "6201 81 d009", start},
		{"FU that starts an SEI", "6201 a7 05ffffffff", nothing},
		{"VPS", "4001 0c01ffff", vps},
		{"SPS", "4201 01010408", sps},
		{"PPS", "4401 c172", pps},
		{"AUD", "4601 50", start},
		{"SEI", "4e01 0500", nothing},
		{"AP of VPS, SPS, PPS and IDR", h265Sets + "0004 2601af1d", with(keyframe, VideoSet|SequenceSet|PictureSet, true)},
		{"AP of VPS, SPS, PPS and P slice", h265Sets + "0004 0201d009", with(start, VideoSet|SequenceSet|PictureSet, true)},
		{"FU that starts an SPS", "6201 a1 01010408", with(start, SequenceSet, true)},
		{"IDR of a layer above the base layer", "2609 af1d", nothing},
		{"FU of a layer above the base layer", "6209 93 af1142b5", nothing},
		{"BLA_W_RADL", "2201 af", keyframe},
		{"BLA_N_LP", "2401 af", keyframe},
		{"RADL_R", "0e01 e024", start},
		{"RASL_N", "1001 e024", start},
		{"BLA_W_LP", "2001 af", keyframe},
		{"IDR_W_RADL", "2601 af1d", keyframe},
		{"IDR_N_LP", "2801 af1d", keyframe},
		{"IDR_N_LP, later slice", "2801 2f1d", nothing},
		{"CRA", "2a01 acff", keyframe},
		{"reserved IRAP", "2c01 acff", nothing},
		{"TRAIL_R", "0201 d009", start},
		{"TRAIL_R, later slice", "0201 5009", nothing},
		{"RASL_R", "1201 e024bf8612a540", start},
		{"PACI", "6401 a6000000", nothing},
		{"header only", "4001", nothing},
		{"FU without a header", "6201", nothing},
		{"FU without data", "6201 a1", nothing},
		{"empty AP", "6001", nothing},
		{"AP cut in a length", "6001 0003 40010c 00", nothing},
		{"AP cut in a NAL unit", "6001 0003 40010c 0004 4201", nothing},
		{"AP of half a header", "6001 0001 40", nothing},
	}
}

func TestH265(t *testing.T) { testInspector(t, "video/H265", h265Payloads()) }

// alone is an aggregation packet of one NAL unit.
func alone(header []byte, nal []byte) []byte {
	p := binary.BigEndian.AppendUint16(slices.Clone(header), uint16(len(nal)))
	return append(p, nal...)
}

// FuzzH264: a NAL unit is the same in a packet of its own, in an aggregation
// packet and in a first fragment.
func FuzzH264(f *testing.F) {
	seed(f, h264Payloads())
	f.Fuzz(func(t *testing.T, p []byte) {
		info := h264(p)
		assert.False(t, info.Keyframe && !info.FrameStart)
		if len(p) == 0 || len(p) > 1500 || p[0]&0x1f >= h264STAPA {
			return
		}
		assert.Equal(t, info, h264(alone([]byte{h264STAPA}, p)), "STAP-A")
		first := append([]byte{p[0]&0xe0 | h264FUA, 0x80 | p[0]&0x1f}, p[1:]...)
		assert.Equal(t, with(info, info.Parameters, info.Parameters != 0), h264(first), "FU-A")
		first[1] &= 0x7f
		assert.Equal(t, nothing, h264(first), "FU-A that goes on")
	})
}

// FuzzH265 is as FuzzH264.
func FuzzH265(f *testing.F) {
	seed(f, h265Payloads())
	f.Fuzz(func(t *testing.T, p []byte) {
		info := h265(p)
		assert.False(t, info.Keyframe && !info.FrameStart)
		if len(p) < 2 || len(p) > 1500 || p[0]>>1&0x3f >= h265AP {
			return
		}
		assert.Equal(t, info, h265(alone([]byte{h265AP << 1, 1}, p)), "AP")
		first := append([]byte{h265FU<<1 | p[0]&1, p[1], 0x80 | p[0]>>1&0x3f}, p[2:]...)
		assert.Equal(t, with(info, info.Parameters, info.Parameters != 0), h265(first), "FU")
		first[2] &= 0x7f
		assert.Equal(t, nothing, h265(first), "FU that goes on")
	})
}
