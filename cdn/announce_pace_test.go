package cdn

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestPace(t *testing.T) {
	const ttl = 48 * time.Second // a third is 16 s, the first delay 1 s
	t0 := time.Unix(1000, 0)
	for name, tc := range map[string]struct {
		random  float64
		results []bool
		want    []time.Duration // from the end of the attempt; attempts take 100 ms
	}{
		"renewals from the beginning": {0.5, []bool{true, true}, []time.Duration{15900 * time.Millisecond, 15900 * time.Millisecond}},
		"a tenth sooner":              {0, []bool{true}, []time.Duration{14300 * time.Millisecond}},
		"a tenth later":               {1, []bool{true}, []time.Duration{17500 * time.Millisecond}},
		"delays double": {
			1,
			[]bool{false, false, false, false, false, false},
			[]time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second, 16 * time.Second},
		},
		"delays are halved at most": {0, []bool{false, false}, []time.Duration{time.Second / 2, time.Second}},
		"success forgets delays": {
			1,
			[]bool{false, false, true, false},
			[]time.Duration{time.Second, 2 * time.Second, 17500 * time.Millisecond, time.Second},
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPace(ttl, func() float64 { return tc.random })
			for i, ok := range tc.results {
				due := p.next(t0, t0.Add(100*time.Millisecond), ok)
				assert.InDelta(t, tc.want[i], due.Sub(t0.Add(100*time.Millisecond)), 10, "attempt %d", i)
				assert.Equal(t, !ok, p.failing())
			}
		})
	}
}

// TestPaceOfShortLease: a lease too short to divide must not spin.
func TestPaceOfShortLease(t *testing.T) {
	p := newPace(2, func() float64 { return 1 })
	t0 := time.Unix(1000, 0)
	assert.True(t, p.next(t0, t0, false).After(t0))
}
