package send

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/internal/rtp/feedback"
)

// What a node misses itself, its receivers report as lost. That says nothing of their paths.
func TestWhatIsNotSentIsNotLost(t *testing.T) {
	type round struct {
		unsent, late int   // numbers passed over, and sent after all
		lost         uint8 // reported, of 256
		left         uint8 // of it, what the path has lost
	}
	for name, rounds := range map[string][]round{
		"the path loses":               {{lost: 64, left: 64}, {lost: 25, left: 25}},
		"the node misses all of it":    {{unsent: 25, lost: 64}, {}},
		"the node misses half":         {{unsent: 10, lost: 51, left: 25}},
		"it is reported a round later": {{unsent: 25}, {lost: 64, left: 16}}, // the round is taken for longer than it is
		"both lose":                    {{unsent: 25, lost: 82, left: 24}},
		"both lose much":               {{unsent: 50, lost: 192, left: 128}},
		"it comes late":                {{unsent: 25, late: 25, lost: 64, left: 64}},
		"it excuses once":              {{unsent: 25, lost: 64}, {lost: 64, left: 64}},
		"it does not excuse for ever":  {{unsent: 25}, {}, {}, {}, {}, {}, {}, {lost: 64, left: 64}},
	} {
		t.Run(name, func(t *testing.T) {
			now := time.Unix(1e9, 0)
			r := reports{}
			for i, x := range rounds {
				if x.unsent > 0 {
					r.passedOver(uint64(x.unsent))
				}
				for range x.late {
					r.cameLate()
				}
				now = now.Add(time.Second)
				r.packets += uint64(100 - x.unsent + x.late)
				m := feedback.Message{Kind: feedback.Report, Lost: x.lost}
				r.received(now, &m)
				require.InDelta(t, x.left, m.Lost, 3, "round %d", i)
				require.InDelta(t, float64(x.left)/256, r.loss, 0.012)
			}
		})
	}
}

// However much a node misses, what it excuses is bounded.
func TestExcusesAreBounded(t *testing.T) {
	r := reports{}
	r.passedOver(1 << 40) // a source that jumps
	r.passedOver(1 << 40)
	require.LessOrEqual(t, int(r.unsent), math.MaxUint16)
	for range excuseFor {
		r.packets += 100
		m := feedback.Message{Kind: feedback.Report, Lost: 255}
		r.received(time.Unix(1e9, 0), &m)
	}
	require.Zero(t, r.unsent)
	r.cameLate()
	require.Zero(t, r.unsent)
}
