package codec

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// The payloads are what FFmpeg's encoders make.
func TestHeight(t *testing.T) {
	const (
		avc1080  = "6742c028da01e0089f97011000000300100000030320f1832a"
		hevc1080 = "420101016000000300900000030000030078a003c08010e596566924caf0168080000003008000000c84"
	)
	for _, tc := range []struct {
		mime, name, hex string
		want            int
	}{
		{"video/VP8", "1080", "10 f0d4029d012a800738040087088585888584880203bbc605", 1080},
		{"video/VP8", "360, with identifiers", "90f0 8123 05 23 909c009d012a800268010047088585888584880202e01041", 360},
		{"video/VP8", "P frame", "10 f1d4029d012a80073804", 0},
		{"video/VP8", "cut off", "10 f0d4029d012a800738", 0},
		{"video/VP9", "1080", "8c 8124 824983420077f043760638241c184a", 1080},
		{"video/VP9", "360", "8c 8124 824983420027f016760638241c184a", 360},
		{"video/VP9", "structure: 320x180 and 640x360", "8e 8124 30 014000b4 02800168 824983420027f016760638241c184a", 360},
		{"video/VP9", "cut off", "8c 8124 82498342007f", 0},
		{"video/VP9", "inter frame", "cc 8124 824983420077f043760638241c184a", 0},
		{"video/H264", "1080, cropped", avc1080, 1080},
		{"video/H264", "360", "6742c01eda0280bfe5c044000003000400000300c83c58ba80", 360},
		{"video/H264", "360, 4:4:4", "67f4001e919b281405ff1380880000030008000003019078b16cb0", 360},
		{"video/H264", "aggregate", "78 0002 09f0 0019" + avc1080 + "0005 68cb83cb20", 1080},
		{"video/H264", "picture parameter set", "68cb83cb20", 0},
		{"video/H264", "cut off", avc1080[:12], 0},
		{"video/H265", "1080", hevc1080, 1080},
		{"video/H265", "360", "42010101600000030090000003000003003fa00502016965959a4932bc05a02000000300200000030321", 360},
		{"video/H265", "aggregate", "6001 002a" + hevc1080, 1080},
		{"video/H265", "cut off", hevc1080[:36], 0},
		{"video/AV1", "1080", "10 0a0b00000042abbfc3776be401", 1080},
		{"video/AV1", "360, with a frame", "20 0d 0a0b0000000cc4ff6736be4010 328b2a10", 360},
		{"video/AV1", "no sequence header", "10 3230", 0},
		{"audio/opus", "sound", "78", 0},
	} {
		assert.Equal(t, tc.want, Height(tc.mime, payload(t, tc.hex)), "%s: %s", tc.mime, tc.name)
	}
}

func FuzzHeight(f *testing.F) {
	mimes := []string{"video/VP8", "video/VP9", "video/H264", "video/H265", "video/AV1"}
	f.Add(uint8(0), payload(f, "10 f0d4029d012a800738040087088585888584880203bbc605"))
	f.Add(uint8(1), payload(f, "8e 8124 30 014000b4 02800168 824983420027f016760638241c184a"))
	f.Add(uint8(2), payload(f, "67f4001e919b281405ff1380880000030008000003019078b16cb0"))
	f.Add(uint8(3), payload(f, "420101016000000300900000030000030078a003c08010e596566924caf0168080000003008000000c84"))
	f.Add(uint8(4), payload(f, "10 0a0b00000042abbfc3776be401"))
	f.Fuzz(func(t *testing.T, which uint8, p []byte) {
		h := Height(mimes[int(which)%len(mimes)], p)
		assert.True(t, h >= 0 && h <= maxHeight)
	})
}
