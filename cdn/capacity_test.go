package cdn

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A node that was behind knows how much was too much, and tries more as time passes. One
// that was held up while it sent little learns nothing.
func TestThroughputIsLearned(t *testing.T) {
	now, count := time.Unix(1000, 0), uint64(0)
	var tp throughput
	send := func(d time.Duration, rate float64) {
		for end := now.Add(d); now.Before(end); {
			now = now.Add(time.Second)
			count += uint64(rate)
			tp.look(now, count)
		}
	}
	send(5*time.Second, 200)
	tp.behind(now)
	require.Zero(t, tp.share(now, count, 0, Capacity{}), "a stall")
	require.InDelta(t, 0.5, tp.share(now, count, 0, Capacity{Packets: 400}), 0.01)

	send(3*time.Second, 2_000)
	tp.overflows(now.Add(time.Millisecond), count+1000, 0)
	require.Zero(t, tp.learned)
	tp.overflows(now.Add(time.Millisecond), count+1000, 10)
	require.InDelta(t, 1800, tp.learned, 1, "the system had no room")
	tp.learned = 0

	send(10*time.Second, 20_000)
	now = now.Add(30 * time.Second) // nothing ran
	tp.look(now, count)
	tp.behind(now)
	send(recovery, 9_000)
	require.InDelta(t, 0.5, tp.share(now, count, 0, Capacity{}), 0.01, "nine tenths of 20,000")
	send(52*time.Second, 9_000)
	require.InDelta(t, 9.0/18.9, tp.share(now, count, 0, Capacity{}), 0.01, "it is not used, and grows but once a minute")
	send(60*time.Second, 30_000)
	require.Greater(t, tp.learned, 30_000.0, "it does more than it was thought to")
}

// A node that can send 20,000 packets a second, and for a time less than that, takes
// viewers while it says that it has room. Twice as many as fit are always waiting.
func TestCapacityUnderACrowd(t *testing.T) {
	const most, each, leaves = 20_000.0, 320.0, 120 // one viewer of so many, a second
	for name, c := range map[string]struct {
		held   time.Duration // that it can send only a sixth, since so many come
		atOnce int           // viewers that may come in a second
		again  time.Duration // when it can send only half, for a minute
		late   float64       // share of what it can send from which on it is late; 0: none
	}{
		"all along":             {0, 30, 0, 0},
		"slowly":                {0, 1, 0, 0},
		"they come at once":     {10 * time.Second, 100, 0, 0},
		"it is slower later on": {0, 30, 5 * time.Minute, 0},
		"it is late first":      {0, 30, 0, 0.95},
	} {
		t.Run(name, func(t *testing.T) {
			var tp throughput
			var viewers, count, sum, failures, late float64
			begun := time.Unix(1000, 0)
			const tests = 20 * time.Minute
			for passed := time.Duration(0); passed < tests; passed += time.Second {
				now, can := begun.Add(passed), most
				if passed < c.held {
					can /= 6
				}
				if c.again > 0 && passed >= c.again && passed < c.again+time.Minute {
					can /= 2
				}
				count += min(viewers*each, can)
				if c.late > 0 && viewers*each > c.late*can {
					tp.late.Store(now.UnixNano())
				}
				for range c.atOnce {
					if tp.share(now, uint64(count), int(viewers), Capacity{}) < 1 && !tp.paces(now, int(viewers)) && viewers*each < 2*most {
						viewers++
						tp.arrives()
					}
				}
				if viewers*each > can {
					tp.behind(now)
					failures++
					if passed >= tests/2 {
						late++
					}
				}
				viewers -= viewers / leaves
				if passed >= tests/2 {
					sum += viewers * each / most
				}
			}
			mean := sum / (tests / 2).Seconds()
			t.Logf("%.2f of the capacity is used; behind in %.0f seconds, %.0f of them in the second half", mean, failures, late)
			require.Greater(t, mean, 0.8)
			require.Less(t, late, 30.0)
			if c.late > 0 {
				require.Zero(t, late, "it takes nobody while it is late")
			}
		})
	}
}
