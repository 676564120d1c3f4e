package viewer

import (
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/srtp/v3"
	"github.com/pion/stun/v4"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/internal/endpoint/dtlssrtp"
)

// viewerOf returns what seals as the viewer of s does, who has reported before.
func viewerOf(tb testing.TB, s *Session) *srtp.Context {
	key, salt := make([]byte, 16), make([]byte, 12)
	in, err := dtlssrtp.NewOpener(srtp.ProtectionProfileAeadAes128Gcm, key, salt, 16)
	require.NoError(tb, err)
	theirs, err := srtp.CreateContext(key, salt, srtp.ProtectionProfileAeadAes128Gcm)
	require.NoError(tb, err)
	s.Assume(s.To(), in, s.media.Sealer)
	tb.Cleanup(s.Unassume)
	return theirs
}

// BenchmarkReport is what a viewer's receiver report costs.
func BenchmarkReport(b *testing.B) {
	p := newPipeline(b, 1)
	s := p.viewers[0]
	theirs := viewerOf(b, s)
	raw, err := rtcp.Marshal([]rtcp.Packet{
		&rtcp.ReceiverReport{SSRC: 1, Reports: []rtcp.ReceptionReport{{SSRC: s.ssrcs[0]}}},
		&rtcp.SourceDescription{Chunks: []rtcp.SourceDescriptionChunk{{Source: 1, Items: []rtcp.SourceDescriptionItem{{Type: rtcp.SDESCNAME, Text: "viewer"}}}}},
	})
	require.NoError(b, err)
	var sealed [1000][]byte
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if i%len(sealed) == 0 {
			b.StopTimer()
			for j := range sealed {
				sealed[j], err = theirs.EncryptRTCP(nil, raw, nil)
				require.NoError(b, err)
			}
			b.StartTimer()
		}
		s.Receive(time.Now(), time.Now(), sealed[i%len(sealed)], s.To())
	}
}

// BenchmarkCheck is what a viewer's consent check costs, without the system call of
// its answer.
func BenchmarkCheck(b *testing.B) {
	s := newPipeline(b, 1).viewers[0]
	viewerOf(b, s)
	m, err := stun.Build(stun.BindingRequest, stun.TransactionID, stun.NewUsername(s.Credentials().Ufrag+":x"),
		stun.NewShortTermIntegrity(s.Credentials().Pwd), stun.Fingerprint)
	require.NoError(b, err)
	b.ReportAllocs()
	for b.Loop() {
		s.Receive(time.Now(), time.Now(), m.Raw, s.To())
		_ = s.Transport().Reply.Flush()
	}
}

// What a viewer says once a second, and means nothing new, allocates nothing.
func TestReportsDoNotAllocate(t *testing.T) {
	s := newPipeline(t, 1).viewers[0]
	theirs := viewerOf(t, s)
	raw, err := rtcp.Marshal([]rtcp.Packet{&rtcp.ReceiverReport{SSRC: 1, Reports: []rtcp.ReceptionReport{{SSRC: s.ssrcs[0]}}}})
	require.NoError(t, err)
	var sealed [][]byte
	for range 201 {
		one, err := theirs.EncryptRTCP(nil, raw, nil)
		require.NoError(t, err)
		sealed = append(sealed, one)
	}
	require.Zero(t, testing.AllocsPerRun(200, func() {
		s.Receive(time.Now(), time.Now(), sealed[0], s.To())
		sealed = sealed[1:]
	}))
}
