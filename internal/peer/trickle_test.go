package peer

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
)

func TestParseFragment(t *testing.T) {
	f, err := parseFragment("a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n" +
		"m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\na=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host\r\n" +
		"m=video 9 UDP/TLS/RTP/SAVPF 0\r\na=candidate:3471623853 1 udp 2122194687 198.51.100.2 61765 typ host\r\na=end-of-candidates\r\n")
	require.NoError(t, err)
	require.Equal(t, "EsAw", f.ufrag)
	require.Equal(t, "P2uYro0UCOQ4zxjKXaWCBui1", f.pwd)
	require.Len(t, f.candidates, 2)
	require.Equal(t, "candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host", f.candidates[0].Candidate)
	require.Equal(t, "0", *f.candidates[0].SDPMid)
	require.Nil(t, f.candidates[1].SDPMid)
	require.Equal(t, uint16(1), *f.candidates[1].SDPMLineIndex)

	f, err = parseFragment("")
	require.NoError(t, err)
	require.Empty(t, f.candidates)
	for _, bad := range []string{"nonsense", "a", "a=ice-ufrag:x", "a=ice-pwd:x\r\n"} {
		_, err := parseFragment(bad)
		require.ErrorIs(t, err, cdn.ErrInvalid, bad)
	}
}

func TestWithCredentials(t *testing.T) {
	const desc = "v=0\r\na=ice-ufrag:old\r\na=ice-pwd:oldpwd\r\nm=audio 9 X 0\r\na=ice-ufrag:old\r\na=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\na=end-of-candidates\r\na=mid:0\r\n"
	got := withCredentials(desc, fragment{ufrag: "new", pwd: "newpwd"})
	require.Equal(t, "v=0\r\na=ice-ufrag:new\r\na=ice-pwd:newpwd\r\nm=audio 9 X 0\r\na=ice-ufrag:new\r\na=mid:0\r\n", got)
}

func TestLocalFragment(t *testing.T) {
	const desc = "v=0\r\na=ice-lite\r\nm=audio 9 X 0\r\na=mid:0\r\na=ice-ufrag:u\r\na=ice-pwd:p\r\na=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\na=end-of-candidates\r\nm=video 9 X 0\r\na=mid:1\r\na=ice-ufrag:u\r\na=ice-pwd:p\r\n"
	require.Equal(t, "a=ice-lite\r\na=ice-ufrag:u\r\na=ice-pwd:p\r\nm=audio 9 X 0\r\na=mid:0\r\na=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\na=end-of-candidates\r\n", localFragment(desc))
	f, err := parseFragment(localFragment(desc))
	require.NoError(t, err)
	require.Equal(t, "u", f.ufrag)
}

func TestReasonsSurvive(t *testing.T) {
	for _, r := range reasons {
		require.ErrorIs(t, ReasonError(Reason(&cdn.Error{Op: "x", Err: r.err})), r.err)
	}
	require.Equal(t, "failed", Reason(nil))
	require.ErrorIs(t, ReasonError("something new"), cdn.ErrPeerLost)
}

func FuzzParseFragment(f *testing.F) {
	f.Add("a=ice-ufrag:x\r\na=ice-pwd:y\r\nm=audio\r\na=mid:0\r\na=candidate:1\r\n")
	f.Add("m=\nm=\na=candidate:\na=mid")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := parseFragment(text)
		if err != nil {
			require.ErrorIs(t, err, cdn.ErrInvalid)
			return
		}
		for _, c := range got.candidates {
			require.True(t, strings.HasPrefix(c.Candidate, "candidate"))
		}
	})
}
