package slow

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var epoch = time.Unix(1_800_000_000, 0)

func at(d time.Duration) time.Time { return epoch.Add(d) }

func TestBreaker(t *testing.T) {
	repeat := func(f float64, n int) []float64 { return slices.Repeat([]float64{f}, n) }
	for _, c := range []struct {
		name  string
		loss  []float64 // one report a second
		after int       // reports until it trips; 0: it does not
	}{
		{"nothing lost", repeat(0, 300), 0},
		{"nearly half lost, for ever", repeat(.49, 300), 0},
		{"half lost", repeat(.5, 300), 31},
		{"all lost", repeat(1, 300), 31},
		{"29 s, and good again", slices.Concat(repeat(.9, 30), repeat(0, 300)), 0},
		{"good seconds are taken off", slices.Concat(repeat(.9, 30), repeat(0, 15), repeat(.9, 30)), 61},
		{"bad and good in turn", slices.Repeat([]float64{1, 0}, 300), 0},
		{"two bad for a good one", slices.Repeat([]float64{0, 1, 1}, 300), 87},
		{"bad, a long time ago", slices.Concat(repeat(1, 29), repeat(0, 60), repeat(1, 29)), 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, tripped := NewBreaker(0), 0
			for i, f := range c.loss {
				if b.Report(at(time.Duration(i)*time.Second), f); b.Tripped() && tripped == 0 {
					tripped = i + 1
				}
			}
			require.Equal(t, c.after, tripped)
			require.Equal(t, c.after > 0, b.Tripped(), "it stays so")
		})
	}
}

// The time between two reports counts, and one report speaks for a few seconds at
// most.
func TestBreakerCountsTime(t *testing.T) {
	b := NewBreaker(10 * time.Second)
	b.Report(at(0), 1)
	b.Report(at(time.Hour), 1)
	require.False(t, b.Tripped())
	b.Skip(at(2 * time.Hour))
	b.Report(at(2*time.Hour+time.Second), 1)
	require.False(t, b.Tripped())
	b.Report(at(2*time.Hour+2*time.Second), 1)
	require.True(t, b.Tripped())
	var none Breaker
	for i := range 1000 {
		none.Report(at(time.Duration(i)*time.Second), 1)
	}
	require.False(t, none.Tripped())
}

func TestDoesNotAllocate(t *testing.T) {
	b, now := NewBreaker(0), epoch
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		now = now.Add(time.Second)
		b.Report(now, .3)
		b.Skip(now)
	}))
}
