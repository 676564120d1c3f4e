//go:build !race

package delta_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// All but one frame in a thousand are whole within a second. One run is too short to tell,
// so this is the average of several. With the race detector runs are shorter, and have too few
// frames.
func TestLossAndJitterOnAverage(t *testing.T) {
	for _, delay := range []time.Duration{ms(20), ms(30)} {
		t.Run(delay.String(), func(t *testing.T) {
			const seeds = 4
			var soon float64
			for seed := range seeds {
				synctest.Test(t, func(t *testing.T) { soon += testLossAndJitter(t, delay, uint64(seed+1)) / seeds })
			}
			require.GreaterOrEqual(t, soon, 0.999, "within 1 s, on average")
		})
	}
}
