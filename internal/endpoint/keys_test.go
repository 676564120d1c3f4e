package endpoint

import (
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/srtp/v3"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/internal/endpoint/dtlssrtp"
)

// What a peer says beyond what any has to say is not looked at; what others write
// in its name costs it nothing.
func TestFloodsOfFeedback(t *testing.T) {
	key, salt := make([]byte, 16), make([]byte, 12)
	theirs, err := srtp.CreateContext(key, salt, srtp.ProtectionProfileAeadAes128Gcm)
	require.NoError(t, err)
	in, err := dtlssrtp.NewOpener(srtp.ProtectionProfileAeadAes128Gcm, key, salt, maxSources)
	require.NoError(t, err)
	k := &keys{in: in, pace: rate{every: time.Second / maxReports, burst: maxBurst}}
	raw, err := rtcp.Marshal([]rtcp.Packet{&rtcp.ReceiverReport{SSRC: 1}})
	require.NoError(t, err)
	now := time.Now()
	say := func(forged bool) bool {
		sealed, err := theirs.EncryptRTCP(nil, raw, nil)
		require.NoError(t, err)
		if forged {
			sealed[10] ^= 1
		}
		return k.open(now, sealed) != nil
	}
	for range 1000 {
		require.False(t, say(true))
	}
	heard := 0
	for range 1000 {
		if say(false) {
			heard++
		}
	}
	require.Equal(t, maxBurst, heard)
	now = now.Add(time.Second)
	for range 1000 {
		if say(false) {
			heard++
		}
	}
	require.Equal(t, maxBurst+maxReports, heard)
}
