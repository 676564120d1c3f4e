package budget

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A viewer whose packets overtake one another asks for many that are merely late. After
// some reports, hardly any of those is repaired, and what is lost is repaired all the same.
func TestReordering(t *testing.T) {
	for name, c := range map[string]struct {
		loss     float64
		jitter   time.Duration // added to the delay of each packet, evenly
		every    time.Duration // between two requests for a packet, and of pion's clock
		needless float64       // of the packets, at most
		waits    bool
	}{
		"clean":                 {every: 100 * ms},
		"5 % lost":              {loss: 0.05, every: 100 * ms},
		"20 % lost":             {loss: 0.2, every: 100 * ms},
		"50 ms":                 {jitter: 50 * ms, every: 100 * ms, needless: 0.01, waits: true},
		"50 ms, 5 % lost":       {loss: 0.05, jitter: 50 * ms, every: 100 * ms, needless: 0.13},
		"10 ms, asked at once":  {jitter: 10 * ms, every: 5 * ms, needless: 0.15, waits: true},
		"2 ms: none overtakes":  {jitter: 2 * ms, every: 5 * ms},
		"2 ms, 2 % lost, often": {loss: 0.02, jitter: 2 * ms, every: 5 * ms},
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(2) {
				s := reordered{loss: c.loss, jitter: c.jitter, every: c.every, rng: rand.New(rand.NewPCG(seed, 2))}
				s.run()
				t.Logf("%d packets, %d lost, %d of them repaired; %d needless; wait %v", s.sent, s.lost, s.repaired, s.needless, s.reordering.Wait(rtt))
				require.LessOrEqual(t, float64(s.needless), c.needless*float64(s.sent))
				require.LessOrEqual(t, s.lost-s.repaired, 2, "but for the last")
				if c.waits {
					require.Positive(t, s.reordering.Wait(rtt))
				} else {
					require.Less(t, s.reordering.Wait(rtt), 10*ms)
				}
			}
		})
	}
}

const rtt = 100 * ms

// reordered is a viewer whose requests are answered after a round trip and
// [Reordering.Wait]. It counts from 15 s on.
type reordered struct {
	loss   float64
	jitter time.Duration
	every  time.Duration
	rng    *rand.Rand

	reordering                     Reordering
	waiting                        []*late
	sent, lost, repaired, needless int
}

// late is a packet that may be asked for.
type late struct {
	sent, arrives time.Time
	lost, counts  bool
}

func (s *reordered) run() {
	lost, highest := 0, epoch // of the packets that have arrived, when the newest was sent
	for tick := range 40_000 {
		now := epoch.Add(time.Duration(tick) * ms)
		if tick%3 == 0 && tick < 38_000 {
			p := &late{sent: now, arrives: now.Add(rtt/2 + time.Duration(s.rng.Int64N(int64(s.jitter)+1))), lost: s.rng.Float64() < s.loss, counts: tick >= 15_000}
			s.waiting = append(s.waiting, p)
			if p.lost {
				lost++
			}
			if p.counts {
				s.sent++
				if p.lost {
					s.lost++
				}
			}
		}
		for _, p := range s.waiting {
			if !p.lost && !p.arrives.After(now) && p.sent.After(highest) {
				highest = p.sent
			}
		}
		s.waiting = slices.DeleteFunc(s.waiting, func(p *late) bool { return !p.lost && !p.arrives.After(now) })
		if tick%int(s.every/ms) == 0 {
			s.ask(now, highest)
		}
		if tick%1000 == 999 {
			s.reordering.reported(float64(lost))
			lost = 0
		}
	}
}

// ask asks for all that is missing. What is asked now is heard half a round trip later.
func (s *reordered) ask(now, highest time.Time) {
	s.waiting = slices.DeleteFunc(s.waiting, func(p *late) bool {
		heard := now.Add(rtt / 2)
		if !p.sent.Before(highest) || heard.Sub(p.sent) < rtt+s.reordering.Wait(rtt) {
			return false
		}
		s.reordering.Repaired()
		switch {
		case !p.counts:
		case p.lost:
			s.repaired++
		default:
			s.needless++
		}
		return true
	})
}
