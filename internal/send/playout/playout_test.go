package playout

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const ms = time.Millisecond

// A path loses packets, of 300 a second, and repairs too.
type path struct {
	*testing.T
	Delay
	random           *rand.Rand
	now              time.Time
	packets, repairs uint64
	queued, clean    bool
	changes          int
}

func newPath(t *testing.T, seed uint64) *path {
	return &path{T: t, random: rand.New(rand.NewPCG(seed, 0)), now: time.Unix(1000, 0)}
}

// run has the path lose a part of the packets for seconds.
func (p *path) run(seconds int, lost float64, trip, most time.Duration) {
	for range seconds {
		for range 300 {
			p.packets++
			for p.random.Float64() < lost {
				p.repairs++
			}
		}
		p.now = p.now.Add(time.Second)
		if p.Look(p.now, View{Packets: p.packets, Repairs: p.repairs, Trip: trip, Queued: p.queued, Clean: p.clean}, most) {
			p.changes++
		}
		require.LessOrEqual(p, p.Min(), most)
		require.Zero(p, p.Min()%step)
	}
}

// A player is told to wait for one repair where little is lost, for more where repairs are
// lost too, and not at all on a path without losses or of unknown length.
func TestWaitsForRepairs(t *testing.T) {
	for name, c := range map[string]struct {
		lost        float64
		trip        time.Duration
		least, most time.Duration // of what it is told
	}{
		"clean":               {0, 150 * ms, 0, 0},
		"unknown":             {0.02, 0, 0, 0},
		"rare":                {0.0001, 150 * ms, 0, 0},
		"little":              {0.01, 150 * ms, 230 * ms, 230 * ms},
		"2 %":                 {0.02, 150 * ms, 230 * ms, 400 * ms},
		"2 %, long":           {0.02, 300 * ms, 380 * ms, 500 * ms},
		"5 %, short":          {0.05, 10 * ms, 210 * ms, 210 * ms}, // 90 ms, and 120 until it asks again
		"5 %":                 {0.05, 100 * ms, 300 * ms, 420 * ms},
		"20 %":                {0.20, 50 * ms, 450 * ms, 500 * ms},
		"all":                 {0.99, 50 * ms, 480 * ms, 500 * ms},
		"longer than allowed": {0.02, time.Second, 500 * ms, 500 * ms},
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(10) {
				p := newPath(t, seed)
				p.run(60, c.lost, c.trip, 500*ms)
				require.GreaterOrEqual(t, p.Min(), c.least, "seed %d", seed)
				require.LessOrEqual(t, p.Min(), c.most, "seed %d", seed)
				require.LessOrEqual(t, p.changes, 6, "seed %d", seed)
			}
		})
	}
}

// What congestion loses is no reason to wait.
func TestCongestion(t *testing.T) {
	p := newPath(t, 1)
	p.queued = true
	p.run(60, 0.3, 100*ms, 500*ms)
	require.Zero(t, p.changes)
}

// A player waits within five seconds of the first loss, and no longer half a minute after
// the last.
func TestBeginsSoonAndEndsLate(t *testing.T) {
	p := newPath(t, 1)
	p.run(10, 0, 150*ms, 500*ms)
	p.run(5, 0.02, 150*ms, 500*ms)
	require.NotZero(t, p.Min())
	p.run(60, 0.02, 150*ms, 500*ms)
	p.run(25, 0, 150*ms, 500*ms)
	require.NotZero(t, p.Min())
	p.run(35, 0, 150*ms, 500*ms)
	require.Zero(t, p.Min())
}

// The first look is about all since the start, unless a queue has lost some of that.
func TestFirstLook(t *testing.T) {
	p := newPath(t, 1)
	p.clean = true
	p.run(1, 0.02, 150*ms, 500*ms)
	require.NotZero(t, p.Min())

	p = newPath(t, 1)
	p.run(1, 0.02, 150*ms, 500*ms)
	require.Zero(t, p.Min())

	p = newPath(t, 1)
	p.clean, p.packets = true, 1e6 // the first repair for a long time
	p.run(1, 0.02, 150*ms, 500*ms)
	require.Zero(t, p.Min())
}

// Reports that come somewhat more often than every second are looked at, each of them.
func TestReportsEveryNineTenths(t *testing.T) {
	p := newPath(t, 1)
	for range 2 {
		p.packets, p.repairs, p.now = p.packets+270, p.repairs+5, p.now.Add(900*ms)
		p.Look(p.now, View{Packets: p.packets, Repairs: p.repairs, Trip: 100 * ms}, 500*ms)
	}
	require.NotZero(t, p.Min())
}

// The delay follows a round trip that becomes longer at once, one that becomes shorter
// later, and not small changes.
func TestFollowsTheRoundTrip(t *testing.T) {
	p := newPath(t, 1)
	p.run(20, 0.01, 100*ms, 500*ms)
	require.Equal(t, 180*ms, p.Min())
	p.run(20, 0.01, 115*ms, 500*ms)
	require.Equal(t, 180*ms, p.Min())
	p.run(2, 0.01, 200*ms, 500*ms)
	require.Equal(t, 280*ms, p.Min())
	p.run(25, 0.01, 100*ms, 500*ms)
	require.Equal(t, 280*ms, p.Min())
	p.run(10, 0.01, 100*ms, 500*ms)
	require.Equal(t, 180*ms, p.Min())
}

// Counters that go back are those of other senders: nothing is known of the time between.
func TestOtherCounters(t *testing.T) {
	p := newPath(t, 1)
	p.run(10, 0.0001, 100*ms, 500*ms)
	for range 20 {
		p.packets, p.repairs = p.packets/2, p.repairs/2
		p.run(1, 0, 100*ms, 500*ms)
		p.run(2, 0, 100*ms, 500*ms)
	}
	require.Zero(t, p.changes)
}

// Reports that come more often than every second change nothing.
func TestOftenLooked(t *testing.T) {
	p := newPath(t, 1)
	for range 600 {
		p.packets, p.repairs, p.now = p.packets+30, p.repairs+1, p.now.Add(100*ms)
		p.Look(p.now, View{Packets: p.packets, Repairs: p.repairs, Trip: 100 * ms}, 500*ms)
	}
	require.Equal(t, 300*ms, p.Min())
	require.Zero(t, testing.AllocsPerRun(100, func() {
		p.packets, p.now = p.packets+300, p.now.Add(time.Second)
		p.Look(p.now, View{Packets: p.packets, Repairs: p.repairs, Trip: 100 * ms}, 500*ms)
	}))
}
