package codec

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDeclaredSets(t *testing.T) {
	const sps, pps = "Z0LgH9oBQBbs", "aM48gA=="
	for name, tc := range map[string]struct {
		mime, fmtp string
		want       []Sets
	}{
		"none":              {"video/H264", "profile-level-id=42e01f", nil},
		"no parameters":     {"video/H264", "", nil},
		"both":              {"video/H264", "packetization-mode=1;sprop-parameter-sets=" + sps + "," + pps, []Sets{SequenceSet, PictureSet}},
		"with spaces":       {"video/h264", "packetization-mode=1; SPROP-parameter-sets = " + sps + ", " + pps + " ;x=1", []Sets{SequenceSet, PictureSet}},
		"without padding":   {"video/H264", "sprop-parameter-sets=" + sps + ",aM48gA", []Sets{SequenceSet, PictureSet}},
		"several":           {"video/H264", "sprop-parameter-sets=" + sps + "," + pps + "," + pps, []Sets{SequenceSet, PictureSet, PictureSet}},
		"garbage":           {"video/H264", "sprop-parameter-sets=" + sps + ",?,," + pps, []Sets{SequenceSet, PictureSet}},
		"a slice":           {"video/H264", "sprop-parameter-sets=ZYiEAA==", nil},
		"too long":          {"video/H264", "sprop-parameter-sets=" + base64.StdEncoding.EncodeToString([]byte("g"+strings.Repeat("x", 1200))), nil},
		"H.265":             {"video/H265", "sprop-sps=QgEBAWAAAAMAsAAAAwAAAwBd;sprop-vps=QAEMAf//AWAAAAM=;sprop-pps=RAHBcrRiQA==", []Sets{VideoSet, SequenceSet, PictureSet}},
		"of another codec":  {"video/VP8", "sprop-parameter-sets=" + sps, nil},
		"of no known codec": {"audio/opus", "sprop-stereo=1", nil},
	} {
		payloads, kinds := DeclaredSets(tc.mime, tc.fmtp)
		require.Equal(t, tc.want, kinds, name)
		require.Len(t, payloads, len(kinds), name)
	}
	payloads, _ := DeclaredSets("video/H264", "sprop-parameter-sets="+sps+","+pps)
	require.Equal(t, [][]byte{{0x67, 0x42, 0xe0, 0x1f, 0xda, 0x01, 0x40, 0x16, 0xec}, {0x68, 0xce, 0x3c, 0x80}}, payloads)
}
