package sdp

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
)

func TestParseFragment(t *testing.T) {
	f, err := ParseFragment("a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n" +
		"m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\na=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host\r\n" +
		"m=video 9 UDP/TLS/RTP/SAVPF 0\r\na=candidate:3471623853 1 udp 2122194687 198.51.100.2 61765 typ host\r\na=end-of-candidates\r\n")
	require.NoError(t, err)
	require.Equal(t, "EsAw", f.Ufrag)
	require.Equal(t, "P2uYro0UCOQ4zxjKXaWCBui1", f.Pwd)
	require.Len(t, f.Candidates, 2)
	require.Equal(t, "candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host", f.Candidates[0].Candidate)
	require.Equal(t, "0", *f.Candidates[0].Mid)
	require.Nil(t, f.Candidates[1].Mid)
	require.Equal(t, uint16(1), *f.Candidates[1].Index)

	f, err = ParseFragment(strings.Repeat("a=candidate:1 1 udp 1 192.0.2.1 7 typ host\r\na=candidate:1 2 tcp 1 x.local 9 typ host\r\n", 200))
	require.NoError(t, err, "those of no use are dropped")
	require.Len(t, f.Candidates, MaxTrickled)
	f, err = ParseFragment("")
	require.NoError(t, err)
	require.Empty(t, f.Candidates)
	for _, bad := range []string{
		"nonsense", "a", "a=ice-ufrag:x", "a=ice-pwd:x\r\n",
		"a=ice-ufrag:EsAw", "a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1", // half
		"a=ice-ufrag:EsA\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1", "a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCB",
		"a=ice-ufrag:" + strings.Repeat("x", 257) + "\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1",
		"a=ice-ufrag:EsAw\r\na=ice-pwd:" + strings.Repeat("x", 257),
	} {
		_, err := ParseFragment(bad)
		require.ErrorIs(t, err, cdn.ErrInvalid, bad)
	}
}

func FuzzParseFragment(f *testing.F) {
	f.Add("a=ice-ufrag:x\r\na=ice-pwd:y\r\nm=audio\r\na=mid:0\r\na=candidate:1\r\n")
	f.Add("m=\nm=\na=candidate:\na=mid")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := ParseFragment(text)
		if err != nil {
			require.ErrorIs(t, err, cdn.ErrInvalid)
			return
		}
		for _, c := range got.Candidates {
			require.True(t, strings.HasPrefix(c.Candidate, "candidate"))
		}
	})
}
