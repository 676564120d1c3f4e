package budget

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPolice(t *testing.T) {
	const bound = 1_000_000
	steady := func(share float64) func(time.Duration) float64 {
		return func(time.Duration) float64 { return share }
	}
	for name, tc := range map[string]struct {
		rate func(at time.Duration) float64 // as a share of the bound
		stop time.Duration                  // 0: never within two minutes
	}{
		"at the bound":       {steady(1), 0},
		"a little more":      {steady(1.24), 0},
		"too much":           {steady(1.27), 10 * time.Second},
		"much too much":      {steady(20), 10 * time.Second},
		"a burst of 6 s":     {func(at time.Duration) float64 { return pick(at < 6*time.Second, 1.5, 0.5) }, 0},
		"a keyframe each 2s": {func(at time.Duration) float64 { return pick(at%(2*time.Second) < 100*time.Millisecond, 10, 0.5) }, 0},
		"bursts with pauses": {func(at time.Duration) float64 { return pick(at%time.Second < 500*time.Millisecond, 4, 0) }, 10 * time.Second},
		"seldom, but vast":   {func(at time.Duration) float64 { return pick(at%(5*time.Second) < time.Second, 20, 0) }, 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			var p Police
			begun := time.Unix(0, 0)
			for at := time.Duration(0); at < 2*time.Minute; at += 10 * time.Millisecond {
				bits := int(tc.rate(at) * bound / 100)
				if bits > 0 && p.Sent(begun.Add(at), bits, bound) {
					require.NotZero(t, tc.stop, "stopped after %v", at)
					require.InDelta(t, tc.stop.Seconds(), at.Seconds(), 1)
					return
				}
			}
			require.Zero(t, tc.stop, "not stopped")
		})
	}
}

// A bound that is lifted is forgotten, and a new one begins anew.
func TestPoliceOfChangingBounds(t *testing.T) {
	var p Police
	at := time.Unix(0, 0)
	for i := range 200 {
		bound := 1000
		if i == 90 {
			bound = 0
		}
		at = at.Add(100 * time.Millisecond)
		if stop := p.Sent(at, 1000, bound); stop {
			require.GreaterOrEqual(t, i, 190)
			return
		}
	}
	t.Fatal("not stopped")
}

func pick(yes bool, a, b float64) float64 {
	if yes {
		return a
	}
	return b
}
