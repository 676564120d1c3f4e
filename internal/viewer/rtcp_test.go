package viewer

import (
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/stretchr/testify/require"
)

// A packet that cannot be read hides neither the others of its compound nor that
// the viewer lives.
func TestUnreadableFeedback(t *testing.T) {
	s := newPipeline(t, 1).viewers[0]
	theirs := viewerOf(t, s)
	report, err := rtcp.Marshal([]rtcp.Packet{&rtcp.ReceiverReport{SSRC: 1, Reports: []rtcp.ReceptionReport{{SSRC: s.ssrcs[0], FractionLost: 64}}}})
	require.NoError(t, err)
	raw := []byte{0x8f, 205, 0, 2, 0, 0, 0, 1, 0, 0, 0, 1} // transport-wide feedback, cut short
	raw = append(raw, report...)
	_, err = rtcp.Unmarshal(raw)
	require.Error(t, err)
	sealed, err := theirs.EncryptRTCP(nil, raw, nil)
	require.NoError(t, err)
	at := time.Now().Add(time.Hour)
	s.Receive(at, at, sealed, s.To())
	require.Equal(t, at, s.Heard())
	require.Equal(t, 0.25, s.Stats().Loss)
}
