package seqnum

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSeqUnwrapsAcrossCyclesAndReordering(t *testing.T) {
	var s Seq
	require.Equal(t, uint64(1<<16|65534), s.Unwrap(65534))
	require.Equal(t, uint64(1<<16|65533), s.Unwrap(65533), "overtaken by the first")
	require.Equal(t, uint64(2<<16), s.Unwrap(0))
	require.Equal(t, uint64(1<<16|65535), s.Unwrap(65535), "late across the wrap")
	require.Equal(t, uint64(2<<16|1), s.Unwrap(1))
	require.Equal(t, uint64(2<<16|1), s.Highest())
}

func TestSeqFollowsAShuffledSequence(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var s Seq
	const n = 1 << 18
	base := s.Unwrap(0)
	order := make([]uint64, n)
	for i := range order {
		order[i] = uint64(i)
	}
	for i := 0; i+64 <= n; i += 64 {
		part := order[i : i+64]
		rng.Shuffle(len(part), func(a, b int) { part[a], part[b] = part[b], part[a] })
	}
	for _, v := range order {
		if got := s.Unwrap(uint16(v)); got != base+v {
			t.Fatalf("unwrapped %d to %d, want %d", v, got, base+v)
		}
	}
}

func TestTimeUnwraps(t *testing.T) {
	var u Time
	first := u.Unwrap(0xffff_ff00)
	require.Equal(t, first+0x200, u.Unwrap(0x100))
	require.Equal(t, first+0x10, u.Unwrap(0xffff_ff10))
}

func TestGapsCloseRemovals(t *testing.T) {
	var g Gaps
	for _, c := range []struct {
		seq, want uint64
		remove    bool
	}{
		{seq: 10, want: 10},
		{seq: 11, remove: true},
		{seq: 12, remove: true},
		{seq: 14, want: 12},
		{seq: 13, want: 11}, // late, between a removal and what went out
		{seq: 9, want: 9},   // late, from before the removals
		{seq: 15, remove: true},
		{seq: 16, want: 13},
	} {
		if c.remove {
			require.True(t, g.Remove(c.seq))
			_, ok := g.Map(c.seq)
			require.False(t, ok, "removed")
			continue
		}
		got, ok := g.Map(c.seq)
		require.True(t, ok)
		require.Equal(t, c.want, got, "seq %d", c.seq)
	}
	require.False(t, g.Remove(13), "what followed it has gone out")
}

// Under any order, and however many removals, no two packets share a number
// and those in order have no gap.
func TestGapsNeverGiveANumberTwice(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	var g Gaps
	seen := map[uint64]uint64{}
	for seq := uint64(1000); seq < 20000; seq++ {
		if rng.IntN(3) == 0 {
			require.True(t, g.Remove(seq))
			continue
		}
		n, ok := g.Map(seq)
		if _, dup := seen[n]; dup || !ok {
			t.Fatalf("%d got number %d: known %v, taken %v", seq, n, ok, dup)
		}
		seen[n] = seq
		late := seq - uint64(rng.IntN(30))
		if m, ok := g.Map(late); ok {
			if was, dup := seen[m]; dup && was != late {
				t.Fatalf("%d and %d share number %d", was, late, m)
			}
		}
	}
	for n := uint64(1000); n < 1000+uint64(len(seen)); n++ {
		if _, ok := seen[n]; !ok {
			t.Fatalf("nothing has number %d", n)
		}
	}
}
