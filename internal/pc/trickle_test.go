package pc

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/internal/sdp"
)

func TestWithCredentials(t *testing.T) {
	const desc = "v=0\r\na=ice-ufrag:old\r\na=ice-pwd:oldpwd\r\nm=audio 9 X 0\r\na=ice-ufrag:old\r\na=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\na=end-of-candidates\r\na=mid:0\r\n"
	got := withCredentials(desc, sdp.Fragment{Ufrag: "new", Pwd: "newpwd"})
	require.Equal(t, "v=0\r\na=ice-ufrag:new\r\na=ice-pwd:newpwd\r\nm=audio 9 X 0\r\na=ice-ufrag:new\r\na=mid:0\r\n", got)
}

func TestLocalFragment(t *testing.T) {
	const desc = "v=0\r\na=ice-lite\r\nm=audio 9 X 0\r\na=mid:0\r\na=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\na=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\na=end-of-candidates\r\nm=video 9 X 0\r\na=mid:1\r\na=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n"
	require.Equal(t, "a=ice-lite\r\na=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\nm=audio 9 X 0\r\na=mid:0\r\na=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\na=end-of-candidates\r\n", localFragment(desc))
	f, err := sdp.ParseFragment(localFragment(desc))
	require.NoError(t, err)
	require.Equal(t, "EsAw", f.Ufrag)
}

// Where RTP and RTCP share a component, the candidates of RTCP's own are nothing to
// offer: whip-whep 1.2.0 makes two addresses of them.
func TestCandidatesOfRTCPAreLeftOut(t *testing.T) {
	const desc = "v=0\r\nm=audio 9 X 0\r\na=candidate:7 1 udp 1 192.0.2.1 9 typ host\r\n%sa=end-of-candidates\r\na=mid:0\r\n"
	const ofRTCP = "a=candidate:7 2 udp 1 192.0.2.1 9 typ host\r\n"
	require.Equal(t, fmt.Sprintf(desc, ""), withoutRTCP(fmt.Sprintf(desc, ofRTCP)))
}

func TestRestartsAreSpread(t *testing.T) {
	var r restarts
	now := time.Unix(1_800_000_000, 0)
	for range restartsPerMinute {
		require.Zero(t, r.take(now))
	}
	require.Equal(t, 12*time.Second, r.take(now))
	require.Equal(t, 2*time.Second, r.take(now.Add(10*time.Second)), "one that is refused does not count")
	require.Zero(t, r.take(now.Add(12*time.Second)))
	require.NotZero(t, r.take(now.Add(12*time.Second)))
	later := now.Add(time.Hour)
	for range restartsPerMinute {
		require.Zero(t, r.take(later))
	}
	require.NotZero(t, r.take(later))
}
