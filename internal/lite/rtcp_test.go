package lite

import (
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/stretchr/testify/require"
)

// What a viewer says beyond what any has to say is not looked at; what others
// write in its name costs it nothing.
func TestFloodsOfFeedback(t *testing.T) {
	s := newPipeline(t, 1).viewers[0]
	theirs := viewerOf(t, s)
	s.dtls.keys.pace = rate{every: time.Second / maxReports, burst: maxBurst}
	raw, err := rtcp.Marshal([]rtcp.Packet{&rtcp.ReceiverReport{SSRC: 1}})
	require.NoError(t, err)
	now := time.Now()
	say := func(forged bool) bool {
		sealed, err := theirs.EncryptRTCP(nil, raw, nil)
		require.NoError(t, err)
		if forged {
			sealed[10] ^= 1
		}
		return s.dtls.keys.open(now, sealed) != nil
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
	s.Receive(at, sealed, s.ice.addr)
	s.mu.Lock()
	defer s.mu.Unlock()
	require.Equal(t, at, s.ice.heard)
	require.Equal(t, 0.25, s.Stats().Loss)
}
