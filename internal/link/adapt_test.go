package link

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/internal/send/allot"
)

func sharesOf(costs ...float64) (all []share) {
	for i, c := range costs {
		all = append(all, share{layer: i + 1, cost: c})
	}
	return all
}

// How many shares, the first ones, cost no more than so much.
func TestFitting(t *testing.T) {
	for _, c := range []struct {
		costs []float64
		bits  float64
		n     int
	}{
		{nil, 5, 0},
		{[]float64{1, 2, 3}, 0, 0},
		{[]float64{1, 2, 3}, 1, 1},
		{[]float64{1, 2, 3}, 2.9, 1},
		{[]float64{1, 2, 3}, 3, 2},
		{[]float64{1, 2, 3}, 1e12, 3},
		{[]float64{4, 1}, 3, 0}, // the second is not sent without the first
	} {
		require.Equal(t, c.n, fitting(sharesOf(c.costs...), c.bits), "%v of %v", c.bits, c.costs)
	}
}

// Each rung has some shares more than the one below, and costs them and all that is sent
// besides. There are not more rungs than can be tried one after another.
func TestLadderOfShares(t *testing.T) {
	require.Equal(t, allot.Ladder{{Layer: -1, Cost: 7}}, ladder(nil, nil, 7))
	require.Equal(t, allot.Ladder{
		{Layer: -1, Cost: 7},
		{Mode: allot.Full, Layer: 0, Cost: 8},
		{Mode: allot.Full, Layer: 1, Cost: 10},
		{Mode: allot.Full, Layer: 2, Cost: 13},
	}, ladder(nil, sharesOf(1, 2, 3), 7))
	for n := 1; n < 3000; n += 1 + n/7 {
		costs := make([]float64, n)
		for i := range costs {
			costs[i] = 1
		}
		all := sharesOf(costs...)
		l := ladder(nil, all, 0)
		require.LessOrEqual(t, len(l), mostRungs+1, "%d shares", n)
		require.Equal(t, float64(n), l[len(l)-1].Cost)
		link := &Link{adaptation: adaptation{shares: all}}
		for i, r := range l {
			require.Equal(t, r.Cost, float64(link.upTo(r)), "%d shares, rung %d", n, i)
			require.Equal(t, i, l.Find(r))
		}
	}
}
