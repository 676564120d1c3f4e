package lite

import (
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/stretchr/testify/require"
)

// A viewer that makes up SSRCs for its reports does not make us remember them.
func TestSourcesAreBounded(t *testing.T) {
	s := newPipeline(t, 1).viewers[0]
	theirs := viewerOf(t, s)
	for ssrc := range uint32(1000) {
		raw, err := rtcp.Marshal([]rtcp.Packet{&rtcp.ReceiverReport{SSRC: ssrc}})
		require.NoError(t, err)
		sealed, err := theirs.EncryptRTCP(nil, raw, nil)
		require.NoError(t, err)
		s.Receive(time.Now(), sealed, s.ice.addr)
	}
	require.Len(t, s.dtls.keys.sources, maxSources)
}
