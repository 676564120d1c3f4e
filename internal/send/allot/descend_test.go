package allot

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A step down is given the time to show. What arrives until then was sent before it: if that shows
// that the path carries even less, the next step does not wait.
func TestAStepThatWasTooSmall(t *testing.T) {
	for name, c := range map[string]struct {
		falls, capacity, after float64 // milliseconds after the step, and bits a second
	}{
		"the estimate stays":            {2000, 800e3, 650},
		"it falls":                      {200, 500e3, 200},
		"it falls, and the rung fits":   {200, 700e3, 650},
		"what was sent since decides":   {600, 500e3, 650},
		"it falls as soon as it can be": {50, 500e3, 50},
	} {
		t.Run(name, func(t *testing.T) {
			v := newViewer(t, Config{})
			v.climb()
			v.pass(20 * time.Second)
			v.congest(800e3)
			v.state.Acknowledged = 0.3 * v.state.Sent
			v.look()
			require.Equal(t, mid, v.rung)
			v.congest(800e3)
			v.state.Acknowledged = 0.3 * v.state.Sent
			stepped := v.now
			for v.rung == mid && v.now.Sub(stepped) < 3*time.Second {
				v.now = v.now.Add(50 * ms)
				if past := float64(v.now.Sub(stepped).Milliseconds()); past >= c.falls {
					v.state.Bitrate = 0.85 * c.capacity
				}
				v.look()
			}
			require.Equal(t, low, v.rung)
			require.InDelta(t, c.after, v.now.Sub(stepped).Milliseconds(), 10)
		})
	}
}
