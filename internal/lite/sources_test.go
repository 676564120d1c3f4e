package lite

import (
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/srtp/v3"
	"github.com/stretchr/testify/require"
)

// A viewer that makes up SSRCs for its reports does not make us remember them.
func TestSourcesAreBounded(t *testing.T) {
	s := newPipeline(t, 1).viewers[0]
	key, salt := make([]byte, 16), make([]byte, 12)
	in, err := srtp.CreateContext(key, salt, srtp.ProtectionProfileAeadAes128Gcm, srtp.SRTCPReplayProtection(64))
	require.NoError(t, err)
	theirs, err := srtp.CreateContext(key, salt, srtp.ProtectionProfileAeadAes128Gcm)
	require.NoError(t, err)
	s.keys.in, s.frozen = in, true
	for ssrc := range uint32(1000) {
		raw, err := rtcp.Marshal([]rtcp.Packet{&rtcp.ReceiverReport{SSRC: ssrc}})
		require.NoError(t, err)
		sealed, err := theirs.EncryptRTCP(nil, raw, nil)
		require.NoError(t, err)
		s.Receive(time.Now(), sealed, s.addr)
	}
	require.Len(t, s.keys.sources, maxSources)
	s.mu.Lock()
	s.frozen = false // there was no DTLS to say goodbye in
	s.mu.Unlock()
}
