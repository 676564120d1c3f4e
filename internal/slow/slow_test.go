package slow

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func at(d time.Duration) time.Time { return epoch.Add(d) }

// reports gives one report a second from now on and returns the verdicts.
func reports(d *Detector, from time.Duration, fractions ...float64) []Verdict {
	var all []Verdict
	for i, f := range fractions {
		now := at(from + time.Duration(i)*time.Second)
		d.Sent(now, 1200)
		d.Report(now, f)
		all = append(all, d.Verdict(now))
	}
	return all
}

func TestLossHasToLast(t *testing.T) {
	for _, c := range []struct {
		name      string
		fractions []float64
		want      Verdict
	}{
		{"nothing lost", []float64{0, 0, 0, 0}, Keep},
		{"one burst", []float64{0, .9, 0, 0}, Keep},
		{"a burst on the border of two reports", []float64{0, .5, .5, 0}, Keep},
		{"bursts again and again", []float64{.5, 0, .5, 0, .5, 0, .5}, Keep},
		{"below the threshold", []float64{.14, .14, .14, .14}, Keep},
		{"above it", []float64{.15, .15, .15}, Down},
	} {
		t.Run(c.name, func(t *testing.T) {
			all := reports(New(Config{}), 0, c.fractions...)
			require.Equal(t, c.want, all[len(all)-1])
			for _, v := range all[:len(all)-1] {
				require.Equal(t, Keep, v)
			}
		})
	}
}

func TestTimeMakesTwoBadReportsNoWorse(t *testing.T) {
	d := New(Config{})
	reports(d, 0, .9, .9)
	for now := time.Second; now < 10*time.Second; now += 100 * ms {
		require.Equal(t, Keep, d.Verdict(at(now)))
	}
}

func TestOldReportsSayNothing(t *testing.T) {
	d := New(Config{})
	reports(d, 0, .5, .5)
	require.Equal(t, Keep, d.Verdict(at(10*time.Second)))
	require.Equal(t, []Verdict{Keep, Keep, Down}, reports(d, 10*time.Second, .5, .5, .5))
}

// steady sends 2.5 Mbit/s for so long and calls each half second.
func steady(d *Detector, from, to time.Duration, each func(now time.Time)) (worst Verdict) {
	for now := from; now < to; now += 5 * ms {
		d.Sent(at(now), 1562)
		if now%(500*ms) == 0 {
			each(at(now))
		}
		if v := d.Verdict(at(now)); v != Keep {
			worst = v
		}
	}
	return worst
}

func TestWhenAnEstimateIsBelieved(t *testing.T) {
	for _, c := range []struct {
		name string
		remb func(elapsed time.Duration) float64
		loss float64
		nack int // packets a half second, of 142
		want Verdict
	}{
		{"above the rate", func(time.Duration) float64 { return 3e6 }, .05, 8, Keep},
		{"a little below the rate", func(time.Duration) float64 { return 2.3e6 }, .05, 8, Keep},
		{"low, flat, no loss", func(time.Duration) float64 { return 1e6 }, 0, 0, Keep},
		{"low and flat, some loss", func(time.Duration) float64 { return 1e6 }, .03, 4, Down},
		{"rising, some loss", func(d time.Duration) float64 { return 300e3 * (1 + .1*d.Seconds()) }, .05, 8, Keep},
		{"rising, much loss", func(d time.Duration) float64 { return 300e3 * (1 + .1*d.Seconds()) }, .12, 8, Down},
		{"rising, many NACKs", func(d time.Duration) float64 { return 300e3 * (1 + .1*d.Seconds()) }, .05, 30, Down},
		{"it fell, no loss", func(d time.Duration) float64 { return max(800e3, 4e6-2e6*d.Seconds()) }, 0, 0, Down},
		{"it dips", func(d time.Duration) float64 {
			if d == 2*time.Second {
				return 800e3
			}
			return 3e6
		}, 0, 0, Keep},
		{"NACKs alone, very many", func(time.Duration) float64 { return 3e6 }, 0, 60, Down},
		{"NACKs alone, many", func(time.Duration) float64 { return 3e6 }, 0, 30, Keep},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := New(Config{})
			got := steady(d, 0, 5*time.Second, func(now time.Time) {
				d.Estimate(now, c.remb(now.Sub(epoch)))
				d.Report(now, c.loss)
				d.Nacked(now, c.nack)
			})
			require.Equal(t, c.want, got)
		})
	}
}

func TestEstimateOfAViewerWhoIsSentNothing(t *testing.T) {
	d := New(Config{})
	for now := time.Duration(0); now < 10*time.Second; now += 500 * ms {
		d.Estimate(at(now), 50e3)
		d.Report(at(now), .1)
		require.Equal(t, Keep, d.Verdict(at(now)))
	}
}

func TestReportsWhileNothingIsSentSayNothing(t *testing.T) {
	d := New(Config{})
	for now := time.Duration(0); now < 10*time.Second; now += time.Second {
		d.Report(at(now), 1)
		require.Equal(t, Keep, d.Verdict(at(now)))
	}
}

func TestHoldOffDoublesToItsBound(t *testing.T) {
	d := New(Config{})
	d.Lowest(false)
	now := time.Duration(0)
	var waits []time.Duration
	for range 7 {
		require.Equal(t, []Verdict{Keep, Keep, Down}, reports(d, now, .5, .5, .5))
		down := now + 2*time.Second
		for now = down; d.Verdict(at(now)) != Up; now += 10 * ms {
			require.Less(t, now-down, time.Minute)
		}
		waits = append(waits, now-down)
	}
	require.Equal(t, []time.Duration{
		2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second,
		32 * time.Second, 32 * time.Second, 32 * time.Second,
	}, waits)
}

func TestNoUpWithoutADownOrInDoubt(t *testing.T) {
	d := New(Config{})
	require.NotContains(t, reports(d, 0, 0, 0, 0, 0, 0), Up)
	reports(d, 10*time.Second, .5, .5, .5)
	require.NotContains(t, reports(d, 13*time.Second, .12, .12, .12, .12, .12), Up)
	require.Contains(t, reports(d, 18*time.Second, 0, 0, 0), Up)
}

func TestReportsAboutTheTimeBeforeDownAreIgnored(t *testing.T) {
	d := New(Config{})
	reports(d, 0, .5, .5, .5)
	d.Sent(at(2500*ms), 1200)
	d.Report(at(2500*ms), .5)
	require.Equal(t, []Verdict{Keep, Keep, Down}, reports(d, 3*time.Second, .5, .5, .5))
}

func TestPatienceRunsAtTheLowestLayerOnly(t *testing.T) {
	lossy := make([]float64, 120)
	for i := range lossy {
		lossy[i] = .5
	}
	d := New(Config{})
	d.Lowest(false)
	require.NotContains(t, reports(d, 0, lossy...), Leave)
	d = New(Config{Patience: 10 * time.Second})
	all := reports(d, 0, lossy[:11]...)
	require.NotContains(t, all, Leave)
	require.Contains(t, all, Down)
	require.Contains(t, reports(d, 11*time.Second, lossy[:6]...), Leave)
	require.Equal(t, Leave, d.Verdict(at(time.Hour)), "it stays so")
}

func TestVerdictsHaveNames(t *testing.T) {
	for v, name := range map[Verdict]string{Keep: "keep", Down: "down", Up: "up", Leave: "leave", 99: "unknown"} {
		require.Equal(t, name, v.String())
	}
}

func TestDoesNotAllocate(t *testing.T) {
	d, now := New(Config{}), epoch
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		now = now.Add(10 * ms)
		d.Sent(now, 1200)
		d.Nacked(now, 1)
		d.Report(now, .3)
		d.Estimate(now, 1e6)
		d.Verdict(now)
	}))
}
