package rewrite

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWhatIsLeftOutHasNoNumbers(t *testing.T) {
	var r Rewriter[string]
	r.Start("v", 1000)
	r.Map(1000)
	for _, seq := range []uint64{1001, 1002, 1004} {
		_, void := r.Omit(seq, 1)
		require.False(t, void)
	}
	as, ok := r.Map(1003)
	require.True(t, ok)
	require.Equal(t, uint64(first+1001), as)
	as, _ = r.Map(1005)
	require.Equal(t, uint64(first+1002), as)
	require.Equal(t, uint32(3), r.Left(as))
	require.Equal(t, uint32(2), r.Left(as-1))
	require.Equal(t, uint32(0), r.Left(as-2))
	_, ok = r.Map(1004)
	require.False(t, ok, "it was left out")

	r.Start("w", 7)
	as, _ = r.Map(7)
	require.Equal(t, uint64(first+1003), as)
	require.Zero(t, r.Left(as))
	for as, want := range map[uint64]uint64{first + 1000: 1000, first + 1001: 1003, first + 1002: 1005} {
		source, seq, ok := r.Source(as)
		require.True(t, ok)
		require.Equal(t, "v", source)
		require.Equal(t, want, seq)
	}
}

// A number that was kept for a packet which is then not sent has to be told of if a higher
// one is out.
func TestANumberThatIsOutCannotBeGivenUp(t *testing.T) {
	var r Rewriter[string]
	r.Start("v", 1000)
	r.Map(1000)
	r.Map(1003) // 1001 and 1002 are missing
	n, void := r.Omit(1002, 1)
	require.True(t, void)
	require.Equal(t, uint64(first+1002), n)
	require.True(t, r.Void(n))
	require.False(t, r.Void(n-1))
	as, ok := r.Map(1001)
	require.True(t, ok)
	require.Equal(t, uint64(first+1001), as)
	as, _ = r.Map(1004)
	require.Equal(t, uint64(first+1004), as)
}

// A span that begins with what is left out, and one that ends with it.
func TestSpansWithTheirEndsLeftOut(t *testing.T) {
	var r Rewriter[string]
	r.Start("v", 1000)
	r.Omit(1000, 1)
	as, _ := r.Map(1001)
	require.Equal(t, uint64(first+1000), as)
	r.Omit(1005, 0) // 1002 to 1004 are missing
	r.Start("w", 1)
	as, _ = r.Map(1)
	require.Equal(t, uint64(first+1001), as)
	source, seq, ok := r.Source(first + 1000)
	require.True(t, ok)
	require.Equal(t, "v", source)
	require.Equal(t, uint64(1001), seq)
	source, seq, ok = r.Source(first + 1001)
	require.True(t, ok)
	require.Equal(t, "w", source)
	require.Equal(t, uint64(1), seq)
}

// Packets come out of order, late, and in frames, some of which are left out. Numbers keep
// the order, what is sent has those of its own, and at the end none is missing.
func TestCutsHoldForAnyOrder(t *testing.T) {
	for seed := range uint64(60) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		var r Rewriter[int]
		const length = 400
		var begin, as uint64 = 5000, 0
		frame, out := make([]int, length), make([]bool, length)
		for i, f := 0, 0; i < length; f++ {
			leave := f > 0 && rnd.IntN(2) == 0
			for range 1 + rnd.IntN(4) {
				if i < length {
					frame[i], out[i] = f, leave
					i++
				}
			}
		}
		order := make([]int, length)
		for i := range order {
			order[i] = i
		}
		for i := 1; i < length-10; i++ { // some are late by up to ten packets
			if rnd.IntN(8) == 0 {
				j := i + rnd.IntN(10)
				moved := order[i]
				copy(order[i:j], order[i+1:j+1])
				order[j] = moved
			}
		}
		r.Start(1, begin)
		sent, taken, left := map[uint64]int{}, map[uint64]bool{}, map[int]bool{}
		for _, i := range order {
			if !out[i] {
				n, ok := r.Map(begin + uint64(i))
				require.True(t, ok, "seed %d, packet %d", seed, i)
				require.False(t, taken[n], "seed %d, packet %d", seed, i)
				sent[n], taken[n] = i, true
				as = max(as, n)
			} else {
				frames := uint32(1)
				if left[frame[i]] {
					frames = 0
				}
				left[frame[i]] = true
				if n, void := r.Omit(begin+uint64(i), frames); void {
					require.False(t, taken[n], "seed %d, packet %d", seed, i)
					require.True(t, r.Void(n))
					taken[n] = true
				}
			}
			require.Equal(t, as, r.Highest())
			for n := as; n > as-20 && n >= as-uint64(len(sent)); n-- {
				if want, ok := sent[n]; ok {
					_, seq, ok := r.Source(n)
					require.True(t, ok, "seed %d, number %d", seed, n)
					require.Equal(t, begin+uint64(want), seq, "seed %d, number %d", seed, n)
				}
			}
		}
		for n, last := as, length; taken[n]; n-- {
			if i, ok := sent[n]; ok {
				require.Less(t, i, last, "seed %d: in order", seed)
				last = i
				delete(taken, n)
			} else {
				delete(taken, n)
			}
		}
		require.Empty(t, taken, "seed %d: without gaps", seed)
	}
}

// Old cuts are forgotten, and nothing wrong is said of them. No memory is taken for more.
func TestOldCutsAreForgotten(t *testing.T) {
	var r Rewriter[int]
	r.Start(1, 0)
	for i := range uint64(2000) {
		r.Map(3 * i)
		r.Omit(3*i+1, 1)
		r.Map(3*i + 2)
	}
	require.LessOrEqual(t, cap(r.cuts.pieces), keptPieces)
	_, _, ok := r.Source(r.Highest() - 1000)
	require.False(t, ok)
	for back := range uint64(100) {
		_, seq, ok := r.Source(r.Highest() - back)
		require.True(t, ok)
		require.Equal(t, 3*(1999-back/2)+2-2*(back%2), seq)
	}
	require.Zero(t, testing.AllocsPerRun(100, func() {
		r.Omit(r.now.from+1, 1)
		r.Map(r.now.from)
	}))
	r.Map(10_000)
	r.Start(2, 7)
	_, seq, ok := r.Source(r.Highest())
	require.True(t, ok)
	require.Equal(t, uint64(10_000), seq)
}
