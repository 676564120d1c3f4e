package dtlssrtp

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"
	"github.com/stretchr/testify/require"
)

// sealed returns a packet as pion seals it.
func sealed(t testing.TB, c *srtp.Context, p rtp.Packet) []byte {
	raw, err := p.Marshal()
	require.NoError(t, err)
	out, err := c.EncryptRTP(nil, raw, nil)
	require.NoError(t, err)
	return out
}

// opens returns the payload of a packet that is opened.
func opens(t testing.TB, o *PacketOpener, packet []byte) ([]byte, bool) {
	var h rtp.Header
	n, err := h.Unmarshal(packet)
	require.NoError(t, err)
	return o.Open(packet, n)
}

// What pion seals is opened: of every length, with header extensions, of several
// sources, reordered, across rollovers, after losses of thousands; and nothing
// twice. pion's own receiver takes the same.
func TestOpensWhatPionSeals(t *testing.T) {
	eachProfile(t, func(t *testing.T, profile srtp.ProtectionProfile, key, salt []byte) {
		theirs, err := srtp.CreateContext(key, salt, profile)
		require.NoError(t, err)
		reference, err := srtp.CreateContext(key, salt, profile, srtp.SRTPReplayProtection(replayWindow))
		require.NoError(t, err)
		ours, err := NewPacketOpener(profile, key, salt, 8)
		require.NoError(t, err)
		rng := rand.New(rand.NewPCG(3, 4))
		type one struct{ packet, payload []byte }
		seqs := map[uint32]uint16{1: 32000, 1 << 31: 0, 0xdeadbeef: 65000}
		for range 80 {
			var burst []one
			for ssrc := range seqs {
				for range 40 {
					payload := make([]byte, rng.IntN(1200))
					for i := range payload {
						payload[i] = byte(rng.Uint32())
					}
					p := rtp.Packet{Header: rtp.Header{Version: 2, SSRC: ssrc, SequenceNumber: seqs[ssrc], PayloadType: 96}, Payload: payload}
					if rng.IntN(2) == 0 {
						require.NoError(t, p.SetExtension(3, []byte{1, 2, 3}))
					}
					seqs[ssrc]++
					burst = append(burst, one{sealed(t, theirs, p), payload})
				}
				if rng.IntN(20) == 0 { // what is lost
					seqs[ssrc] += uint16(rng.IntN(5000))
				}
			}
			rng.Shuffle(len(burst), func(i, j int) { burst[i], burst[j] = burst[j], burst[i] })
			for _, b := range burst {
				again := slices.Clone(b.packet)
				_, err := reference.DecryptRTP(nil, slices.Clone(b.packet), nil)
				got, ok := opens(t, ours, b.packet)
				require.Equal(t, err == nil, ok)
				if ok {
					require.Equal(t, b.payload, append([]byte{}, got...))
					_, ok = opens(t, ours, again)
					require.False(t, ok, "twice")
				}
			}
		}
	})
}

// A packet that was changed anywhere is not opened, and does not count: the true one
// is opened after it.
func TestOpensNothingForged(t *testing.T) {
	eachProfile(t, func(t *testing.T, profile srtp.ProtectionProfile, key, salt []byte) {
		theirs, err := srtp.CreateContext(key, salt, profile)
		require.NoError(t, err)
		ours, err := NewPacketOpener(profile, key, salt, 8)
		require.NoError(t, err)
		for seq := range uint16(50) {
			p := sealed(t, theirs, rtp.Packet{Header: rtp.Header{Version: 2, SSRC: 9, SequenceNumber: 65500 + seq}, Payload: []byte("payload")})
			for _, at := range []int{1, 2, 5, 9, 12, len(p) - 1} {
				forged := slices.Clone(p)
				forged[at] ^= 1
				_, ok := ours.Open(forged, 12)
				require.False(t, ok)
			}
			_, ok := ours.Open(slices.Clone(p[:15]), 12)
			require.False(t, ok)
			got, ok := ours.Open(p, 12)
			require.True(t, ok)
			require.Equal(t, "payload", string(got))
		}
	})
}

// The SSRCs of which something is kept are bounded; nothing is allocated for a
// packet of one that is known.
func TestOpenersKeepFewSources(t *testing.T) {
	eachProfile(t, func(t *testing.T, profile srtp.ProtectionProfile, key, salt []byte) {
		theirs, err := srtp.CreateContext(key, salt, profile)
		require.NoError(t, err)
		ours, err := NewPacketOpener(profile, key, salt, 4)
		require.NoError(t, err)
		for ssrc := range uint32(100) {
			_, ok := ours.Open(sealed(t, theirs, rtp.Packet{Header: rtp.Header{Version: 2, SSRC: ssrc, SequenceNumber: 7}, Payload: make([]byte, 50)}), 12)
			require.True(t, ok)
			require.LessOrEqual(t, len(ours.sources), 4)
		}
		var packets [][]byte
		for seq := range uint16(1100) {
			packets = append(packets, sealed(t, theirs, rtp.Packet{Header: rtp.Header{Version: 2, SSRC: 99, SequenceNumber: 8 + seq}, Payload: make([]byte, 1100)}))
		}
		i := 0
		require.Zero(t, testing.AllocsPerRun(1000, func() {
			if _, ok := ours.Open(packets[i], 12); !ok {
				t.Error("not opened")
			}
			i++
		}))
	})
}
