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
	k := &keys{in: in, pace: feedbackPace, reports: reportsPace}
	now := time.Now()
	say := func(forged bool, what rtcp.Packet) bool {
		raw, err := rtcp.Marshal([]rtcp.Packet{what})
		require.NoError(t, err)
		sealed, err := theirs.EncryptRTCP(nil, raw, nil)
		require.NoError(t, err)
		if forged {
			sealed[10] ^= 1
		}
		return k.open(now, sealed) != nil
	}
	nack := &rtcp.TransportLayerNack{SenderSSRC: 1, MediaSSRC: 2, Nacks: rtcp.NackPairsFromSequenceNumbers([]uint16{7})}
	report := &rtcp.ReceiverReport{SSRC: 1}
	heard := func(what rtcp.Packet) (n int) {
		for range 1000 {
			if say(false, what) {
				n++
			}
		}
		return n
	}
	for range 1000 {
		require.False(t, say(true, nack))
	}
	require.Equal(t, 200, heard(nack))
	require.Equal(t, 50, heard(report), "reports are heard in a flood of NACKs")
	now = now.Add(time.Second)
	require.Equal(t, 250, heard(report))
	now = now.Add(100 * time.Millisecond)
	require.Equal(t, 20, heard(nack))
	require.Equal(t, 5, heard(report))
}
