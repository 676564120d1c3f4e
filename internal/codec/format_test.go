package codec

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestSameFormat(t *testing.T) {
	const mode1 = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id="
	for _, tc := range []struct {
		mime, a, b string
		want       bool
	}{
		{"video/VP8", "", "max-fs=12288;max-fr=60", true},
		{"audio/opus", "minptime=10;useinbandfec=1", "stereo=1", true},

		{"video/VP9", "", "profile-id=0", true},
		{"video/VP9", "profile-id=2", "profile-id=0", false},
		{"video/VP9", "profile-id=2", "", false},
		{"video/vp9", "PROFILE-ID=02", "max-fr=30; profile-id = 2", true},
		{"video/AV1", "", "level-idx=5;profile=0;tier=0", true},
		{"video/AV1", "profile=1", "", false},
		{"video/AV1", "profile=1;level-idx=8", "profile=1", true},
		{"video/H265", "", "level-id=93;profile-id=1;tier-flag=0;tx-mode=SRST", true},
		{"video/H265", "profile-id=1;tier-flag=1", "profile-id=1;tier-flag=0", true},
		{"video/H265", "profile-id=2", "", false},
		{"video/H265", "profile-id=x", "profile-id=x", true},
		{"video/H265", "profile-id=x", "profile-id=1", false},

		{"video/H264", "", "", true},
		{"video/H264", "", "packetization-mode=0", true},
		{"video/H264", "", "packetization-mode=1", false},
		{"video/H264", "", "profile-level-id=42000a", true},
		{"video/H264", "", "profile-level-id=420010", true},
		{"video/H264", "", "profile-level-id=42e01f", false},
		{"video/h264", mode1 + "42e01f", mode1 + "42E01F", true},
		{"video/H264", mode1 + "42e01f", mode1 + "42c02a", true},
		{"video/H264", mode1 + "42e01f", mode1 + "42001f", false},
		{"video/H264", mode1 + "42e01f", "profile-level-id=42e01f", false},
		{"video/H264", mode1 + "42e01f", mode1 + "4d801f", true},
		{"video/H264", mode1 + "42e01f", mode1 + "58c01f", true},
		{"video/H264", mode1 + "42001f", mode1 + "42800b", true},
		{"video/H264", mode1 + "42001f", mode1 + "58801f", true},
		{"video/H264", mode1 + "4d001f", mode1 + "4d4028", true},
		{"video/H264", mode1 + "4d001f", mode1 + "42e01f", false},
		{"video/H264", mode1 + "64001f", mode1 + "640028", true},
		{"video/H264", mode1 + "64001f", mode1 + "640c1f", false},
		{"video/H264", mode1 + "64001f", mode1 + "64081f", true},
		{"video/H264", mode1 + "64001f", mode1 + "4d001f", false},
		{"video/H264", mode1 + "f4001f", mode1 + "f40028", true},
		{"video/H264", mode1 + "6e001f", mode1 + "6e101f", false},
		{"video/H264", mode1 + "58001f", mode1 + "58801f", false},
		{"video/H264", mode1 + "42e0", mode1 + "42e0", true},
		{"video/H264", mode1 + "zzzzzz", mode1 + "42e01f", false},
	} {
		assert.Equal(t, tc.want, SameFormat(tc.mime, tc.a, tc.b), "%s: %q and %q", tc.mime, tc.a, tc.b)
		assert.Equal(t, tc.want, SameFormat(tc.mime, tc.b, tc.a), "%s: %q and %q", tc.mime, tc.b, tc.a)
	}
}

// FuzzSameFormat: a format is the same as itself, and sameness has no
// direction.
func FuzzSameFormat(f *testing.F) {
	f.Add("video/H264", "packetization-mode=1;profile-level-id=42e01f", "profile-level-id=42e0")
	f.Add("video/VP9", "profile-id=0;;=;a=b=c", " ; profile-id=-1")
	f.Add("video/AV1", "profile=99999999999999999999", "profile")
	f.Fuzz(func(t *testing.T, mime, a, b string) {
		assert.True(t, SameFormat(mime, a, a))
		assert.Equal(t, SameFormat(mime, a, b), SameFormat(mime, b, a))
	})
}
