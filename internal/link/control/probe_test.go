package control

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// An hour on a path that loses 5 % each way and has 30 ms of jitter is no reason
// to give the other side up, whether media travels or not. An idle link is quiet.
func TestNoFalseAlarm(t *testing.T) {
	for _, carrying := range []bool{false, true} {
		for seed := range uint64(3) {
			s := newSim(seed)
			s.loss, s.jitter = 0.05, 30*time.Millisecond
			for _, c := range s.end {
				c.Carrying(s.now, carrying)
			}
			s.run(t, time.Hour)
			require.Empty(t, of[Closed](append(s.events[0], s.events[1]...)), "carrying %v, seed %d", carrying, seed)
			rate := float64(s.sent) / time.Hour.Seconds()
			if carrying {
				require.Less(t, rate, 30.0, "datagrams a second, both ways together")
			} else {
				require.Less(t, rate, 6.0, "datagrams a second, both ways together")
			}
			require.InDelta(t, 0.0975, s.end[0].Stats().Loss, 0.09)
			require.InDelta(t, 80*time.Millisecond, s.end[0].Stats().RTT, float64(35*time.Millisecond))
		}
	}
}

// A death is noticed in time.
func TestDeathIsNoticed(t *testing.T) {
	for seed := range uint64(1000) {
		s := newSim(seed)
		s.loss, s.jitter = 0.05, 30*time.Millisecond
		carrying, limit := seed%2 == 0, 2*time.Second
		if carrying {
			limit = 500 * time.Millisecond
		}
		for _, c := range s.end {
			c.Carrying(s.now, carrying)
		}
		s.run(t, 2*time.Second+time.Duration(s.rng.IntN(3000))*time.Millisecond)
		s.cut = true
		// What is under way still comes.
		s.run(t, limit+s.delay+s.jitter)
		for i := range s.end {
			closed := of[Closed](s.events[i])
			require.Len(t, closed, 1, "seed %d", seed)
			require.ErrorIs(t, closed[0].Err, ErrPeerSilent)
			require.Zero(t, s.end[i].Next())
			require.Nil(t, s.end[i].Datagram())
		}
	}
}

// Without loss the limit is exact: so long after the last sign of life.
func TestWhenItIsDead(t *testing.T) {
	for _, tc := range []struct {
		name     string
		carrying bool
		rtt      time.Duration
		limit    time.Duration
	}{
		{"idle", false, 50 * time.Millisecond, 2 * time.Second},
		{"carrying", true, 50 * time.Millisecond, 500 * time.Millisecond},
		{"carrying, far away", true, 300 * time.Millisecond, 900 * time.Millisecond},
		{"carrying, at the end of the world", true, time.Second, 2 * time.Second},
	} {
		s := newSim(1)
		s.delay = tc.rtt / 2
		s.end[0].Carrying(s.now, tc.carrying)
		s.run(t, 10*time.Second)
		require.Empty(t, of[Closed](s.events[0]), tc.name)
		s.cut = true
		s.run(t, tc.rtt)
		heard, dead := s.end[0].probe.heard, time.Time{}
		s.watch = func(side int, e Event) {
			if _, ok := e.(Closed); ok && side == 0 {
				dead = s.now
			}
		}
		s.run(t, 5*time.Second)
		require.Equal(t, tc.limit, dead.Sub(heard), tc.name)
	}
}

// A long way is no death, and neither is a queue that has built up.
func TestFarAway(t *testing.T) {
	for _, delay := range []time.Duration{150 * time.Millisecond, 350 * time.Millisecond} {
		s := newSim(1)
		s.delay, s.jitter, s.loss = delay, 60*time.Millisecond, 0.05
		for _, c := range s.end {
			c.Carrying(s.now, true)
		}
		s.run(t, 10*time.Minute)
		require.Empty(t, of[Closed](append(s.events[0], s.events[1]...)))
	}
}

// Nor is a long way that is new: that media travels is said before the first answer
// can come.
func TestFarAwayFromTheBeginning(t *testing.T) {
	for _, delay := range []time.Duration{100, 250, 300, 400, 600} {
		s := newSim(1)
		s.delay = delay * time.Millisecond
		for _, c := range s.end {
			c.Carrying(s.now, true)
		}
		s.run(t, time.Minute)
		require.Empty(t, of[Closed](append(s.events[0], s.events[1]...)), "round trip %v", 2*s.delay)
		require.Equal(t, 2*s.delay, s.end[0].RTT())
	}
}

// Who never answers is given up all the same.
func TestNobodyAnswers(t *testing.T) {
	for carrying, limit := range map[bool]time.Duration{true: 2 * time.Second, false: 8 * time.Second} {
		s := newSim(1)
		s.cut = true
		s.end[0].Carrying(s.now, carrying)
		s.run(t, limit-time.Millisecond)
		require.Empty(t, of[Closed](s.events[0]))
		s.run(t, time.Millisecond)
		require.Len(t, of[Closed](s.events[0]), 1)
	}
}

// Media is a sign of life; the round trip is measured all the same, once a second.
func TestMediaIsHeard(t *testing.T) {
	s := newSim(1)
	s.end[0].Carrying(s.now, true)
	s.run(t, 100*time.Millisecond)
	s.delay = 35 * time.Millisecond
	s.sent = 0
	for range 3000 { // every 20 ms
		s.run(t, 20*time.Millisecond)
		for _, c := range s.end {
			c.Alive(s.now)
			c.Alive(s.now.Add(-time.Second)) // is not news
		}
	}
	require.InDelta(t, 4*60, s.sent, 20, "a question and an answer of each side a second")
	require.InDelta(t, 70*time.Millisecond, s.end[0].RTT(), float64(time.Millisecond))

	// Media one way only, and none of what we say arrives there.
	s.cut = true
	for range 250 {
		s.run(t, 20*time.Millisecond)
		s.end[0].Alive(s.now)
	}
	require.Empty(t, of[Closed](s.events[0]))
	require.Len(t, of[Closed](s.events[1]), 1)
	require.InDelta(t, 0.1, s.end[0].Stats().Loss, 0.09)
}

// A process that was held up has what the other side said still to read. It asks
// before it gives the other side up.
func TestHeldUp(t *testing.T) {
	s := pair(t)
	for _, c := range s.end {
		c.Carrying(s.now, true)
	}
	s.run(t, time.Second)
	s.now = s.now.Add(3 * time.Second) // both are held up: two processes on one machine
	s.run(t, time.Second)
	require.Empty(t, of[Closed](append(s.events[0], s.events[1]...)))
	s.cut = true
	s.now = s.now.Add(3 * time.Second)
	s.run(t, 110*time.Millisecond)
	require.Len(t, of[Closed](append(s.events[0], s.events[1]...)), 2)
}

// One that is always held up, as on a machine that has too much to do, notices a
// death all the same; and one that is held up now and then takes nobody for dead.
func TestAlwaysHeldUp(t *testing.T) {
	for _, cut := range []bool{false, true} {
		s := pair(t)
		for _, c := range s.end {
			c.Carrying(s.now, true)
		}
		s.run(t, time.Second)
		s.cut = cut
		for range 60 {
			s.now = s.now.Add(170 * time.Millisecond)
			for _, c := range s.end {
				c.HeldUp(s.now)
			}
			s.run(t, 60*time.Millisecond)
		}
		if cut {
			require.Len(t, of[Closed](append(s.events[0], s.events[1]...)), 2)
		} else {
			require.Empty(t, of[Closed](append(s.events[0], s.events[1]...)))
		}
	}
}

// Media begins on a link that was idle: it counts from then on.
func TestCarryingBegins(t *testing.T) {
	s := pair(t)
	s.cut = true
	s.run(t, 1700*time.Millisecond)
	for _, c := range s.end {
		c.Carrying(s.now, true)
	}
	began := s.now
	for len(of[Closed](s.events[0])) == 0 {
		s.run(t, time.Millisecond)
	}
	require.Equal(t, 500*time.Millisecond, s.now.Sub(began))
}

func TestLoad(t *testing.T) {
	s := newSim(1)
	s.end[1] = New(s.now, Config{Hello: Hello{Min: 1, Max: 1, Load: 0.5}})
	s.run(t, 100*time.Millisecond)
	require.InDelta(t, 0.5, of[Opened](s.events[0])[0].Hello.Load, 0)
	require.InDelta(t, 0.5, s.end[0].Stats().Load, 0)
	require.Zero(t, s.end[1].Stats().Load)
	for _, tc := range []struct{ load, want float64 }{{0.7314, 0.731}, {-1, 0}, {7, 1}, {math.NaN(), 0}, {0.2, 0.2}} {
		s.end[1].SetLoad(tc.load)
		s.run(t, 1100*time.Millisecond)
		require.InDelta(t, tc.want, s.end[0].Stats().Load, 0)
	}
	p := &probe{}
	p.asks(ping{id: 5, load: 500, loaded: true})
	p.asks(ping{id: 4, load: 400, loaded: true})
	p.asks(ping{id: 6})
	require.InDelta(t, 0.5, p.theirs, 0, "one that was overtaken, and one that does not tell")
	p.asks(ping{id: 7, load: 1 << 62, loaded: true})
	require.InDelta(t, 1, p.theirs, 0)
}
