package slow

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// viewer reports once a second on 2.5 Mbit/s.
type viewer struct {
	d   *Detector
	now time.Time
}

func newViewer(c Config) *viewer { return &viewer{New(c), time.Unix(0, 0)} }

func (v *viewer) second(lost float64) Verdict {
	for range 260 {
		v.now = v.now.Add(time.Second / 260)
		v.d.Sent(v.now, 1200)
	}
	v.d.Report(v.now, lost)
	return v.d.Verdict(v.now)
}

func TestWhatIsRepairedIsNoReason(t *testing.T) {
	v := newViewer(Config{})
	v.d.Estimate(v.now, 300_000) // as browsers say at first
	for range 120 {
		v.d.Nacked(v.now, 20)
		require.Equal(t, Keep, v.second(0.05))
	}
}

func TestOneBurstIsNoReason(t *testing.T) {
	v := newViewer(Config{})
	for range 20 {
		require.Equal(t, Keep, v.second(0.8))
		require.Equal(t, Keep, v.second(0))
	}
}

func TestTooNarrowAPathIsNoticedInTime(t *testing.T) {
	v := newViewer(Config{})
	require.Equal(t, Keep, v.second(0.6))
	require.Equal(t, Down, v.second(0.6))
	require.Equal(t, Keep, v.second(0.6), "the effect is awaited")
}

func TestALowEstimateCountsWithTheRest(t *testing.T) {
	v := newViewer(Config{})
	v.d.Estimate(v.now, 1_000_000)
	v.d.Nacked(v.now, 200)
	require.Equal(t, Keep, v.second(0.05))
	v.d.Nacked(v.now, 200)
	require.Equal(t, Down, v.second(0.05))
	fresh := newViewer(Config{})
	fresh.d.Estimate(fresh.now, 1_000_000)
	for range 60 {
		require.Equal(t, Keep, fresh.second(0), "an estimate alone is none")
	}
}

func TestRecoveryIsTriedWithGrowingCaution(t *testing.T) {
	v := newViewer(Config{Patience: time.Hour})
	var waits []int
	for range 3 {
		for v.second(0.6) != Down {
		}
		n := 1
		for v.second(0) != Up {
			n++
		}
		waits = append(waits, n)
	}
	require.Less(t, waits[0], waits[1])
	require.Less(t, waits[1], waits[2])
}

func TestPatienceEnds(t *testing.T) {
	v := newViewer(Config{Patience: 30 * time.Second})
	seconds := 0
	for v.second(0.6) != Leave {
		seconds++
		require.Less(t, seconds, 60)
	}
	require.Greater(t, seconds, 25)
	require.Equal(t, Leave, v.d.Verdict(v.now), "it stays so")
}

func TestAGoodWhileForgets(t *testing.T) {
	v := newViewer(Config{Patience: 30 * time.Second})
	for range 5 {
		for v.second(0.6) != Down {
		}
		for range 120 {
			require.NotEqual(t, Leave, v.second(0))
		}
	}
}

func TestNothingSentNothingJudged(t *testing.T) {
	d := New(Config{})
	for i := range 10 {
		d.Report(time.Unix(int64(i), 0), 1)
		require.Equal(t, Keep, d.Verdict(time.Unix(int64(i), 0)))
	}
}

func TestNoAllocation(t *testing.T) {
	d := New(Config{})
	now := time.Unix(0, 0)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		d.Sent(now, 1200)
		d.Report(now, 0.1)
		d.Verdict(now)
	}))
}
