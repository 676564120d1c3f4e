package dtlssrtp

import (
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/internal/udp/egress"
)

// wire keeps what is sent.
type wire struct{ datagrams [][]byte }

func (w *wire) WriteTo(b []byte, _ net.Addr) (int, error) {
	w.datagrams = append(w.datagrams, slices.Clone(b))
	return len(b), nil
}

func eachProfile(t *testing.T, f func(t *testing.T, profile srtp.ProtectionProfile, key, salt []byte)) {
	for _, profile := range srtpProfiles {
		t.Run(profile.String(), func(t *testing.T) {
			k, err := profile.KeyLen()
			require.NoError(t, err)
			s, err := profile.SaltLen()
			require.NoError(t, err)
			key, salt := make([]byte, k), make([]byte, s)
			for i := range key {
				key[i] = byte(7 * i)
			}
			for i := range salt {
				salt[i] = byte(200 - 3*i)
			}
			f(t, profile, key, salt)
		})
	}
}

// What is sealed is, byte for byte, what pion makes of it: with and without
// header extensions, of every length, of several sources, in order and not,
// before and after rollovers.
func TestSealsAsPionDoes(t *testing.T) {
	eachProfile(t, func(t *testing.T, profile srtp.ProtectionProfile, key, salt []byte) {
		ours, err := NewSealer(profile, key, salt)
		require.NoError(t, err)
		pion, err := srtp.CreateContext(key, salt, profile)
		require.NoError(t, err)
		w := &wire{}
		batch := egress.New(w, nil).NewBatch()
		rng := rand.New(rand.NewPCG(1, 2))
		payload := make([]byte, 1300)
		for i := range payload {
			payload[i] = byte(rng.Uint32())
		}
		seqs := map[uint32]uint64{1: 32767, 1 << 31: 0, 0xdeadbeef: 32768, 4: 65535}
		for i := range 10_000 {
			ssrc := []uint32{1, 1 << 31, 0xdeadbeef, 4}[rng.IntN(4)]
			seq := seqs[ssrc] + uint64(rng.IntN(60))
			seqs[ssrc] = seq
			back := uint64(0) // late, and sent again
			if rng.IntN(4) == 0 {
				back = uint64(rng.IntN(200))
			}
			p := rtp.Packet{
				Header: rtp.Header{
					Version: 2, SSRC: ssrc, SequenceNumber: uint16(seq - back), Timestamp: rng.Uint32(), PayloadType: 96, Marker: i%3 == 0,
				},
				Payload: payload[:rng.IntN(len(payload))],
			}
			switch rng.IntN(3) {
			case 0:
				require.NoError(t, p.SetExtension(3, payload[:1+rng.IntN(16)]))
			case 1:
				p.Header.Extension, p.Header.ExtensionProfile = true, 0x1000
				require.NoError(t, p.SetExtension(17, payload[:rng.IntN(100)]))
			}
			raw, err := p.Marshal()
			require.NoError(t, err)
			want, err := pion.EncryptRTP(nil, raw, nil)
			require.NoError(t, err)
			w.datagrams = w.datagrams[:0]
			header := p.Header.MarshalSize()
			n := ours.RTP(batch, netip.MustParseAddrPort("127.0.0.1:9"), raw[:header], raw[header:])
			require.NoError(t, batch.Flush())
			require.Equal(t, [][]byte{want}, w.datagrams)
			require.Len(t, want, n)
		}
		require.Greater(t, seqs[1], uint64(1<<16), "the number has rolled over")
	})
}

func TestSealingDoesNotAllocate(t *testing.T) {
	eachProfile(t, func(t *testing.T, profile srtp.ProtectionProfile, key, salt []byte) {
		s, err := NewSealer(profile, key, salt)
		require.NoError(t, err)
		header, payload := make([]byte, 12, 1500), make([]byte, 1200)
		require.Zero(t, testing.AllocsPerRun(100, func() { s.seal(header, payload) }))
	})
}

// The pairs are the highest index and a number, the third the index of that.
func TestIndex(t *testing.T) {
	for _, c := range [][3]uint64{
		{0, 0, 0},
		{0, 1, 1},
		{0, 0xffff, 0xffff}, // nothing was before zero
		{0x7fff, 0xffff, 0xffff},
		{0x8000, 0, 0},
		{0x8001, 0, 0x10000},
		{0xffff, 0, 0x10000},
		{0xffff, 0x7ffe, 0x17ffe},
		{0xffff, 0x7fff, 0x7fff},
		{0x10000, 0xffff, 0xffff},
		{0x10000, 0x8001, 0x8001},
		{0x10000, 0x8000, 0x18000},
		{0x17fff, 0xffff, 0x1ffff},
		{0x17ffe, 0xffff, 0xffff},
		{0x2ffff, 0xfffe, 0x2fffe},
		{0x2ffff, 2, 0x30002},
	} {
		s := source{started: true, highest: c[0]}
		require.Equal(t, c[2], s.index(uint16(c[1])), "%#x", c)
		require.Equal(t, max(c[0], c[2]), s.highest, "%#x", c)
	}
	s := source{}
	require.Equal(t, uint64(0xffff), s.index(0xffff), "the first one is where it says it is")
}

// The other side, which does not get them all, guesses as we do.
func FuzzIndex(f *testing.F) {
	f.Add(uint16(32767), []byte{1, 2, 3, 200, 255, 0, 9})
	f.Fuzz(func(t *testing.T, first uint16, steps []byte) {
		first &= 0x7fff
		ours, theirs := source{}, source{}
		require.Equal(t, ours.index(first), theirs.index(first))
		highest := uint64(first)
		for i, b := range steps {
			truth := highest + 40*uint64(b>>1)
			if b&1 == 1 { // late
				truth = highest - min(highest, uint64(b))
			}
			highest = max(highest, truth)
			require.Equal(t, truth, ours.index(uint16(truth)))
			if i%2 == 0 || b%3 > 0 {
				require.Equal(t, truth, theirs.index(uint16(truth)))
			}
		}
	})
}
