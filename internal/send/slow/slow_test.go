package slow

import (
	"slices"
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

// What one sign, or two of them together, cost a viewer that has a lower layer, and
// one that has none.
func TestWhatSignsCost(t *testing.T) {
	flat := func(bits float64) func(time.Duration) float64 { return func(time.Duration) float64 { return bits } }
	rising := func(d time.Duration) float64 { return 300e3 * (1 + .1*d.Seconds()) }
	for _, c := range []struct {
		name   string
		remb   func(elapsed time.Duration) float64
		loss   float64 // in each report
		nack   int     // packets a half second, of 142
		layer  Verdict // with a lower layer
		lowest Verdict // without
	}{
		{"an estimate above the rate", flat(3e6), .05, 8, Keep, Keep},
		{"a little below the rate", flat(2.3e6), .05, 8, Keep, Keep},
		{"low, flat, no loss", flat(1e6), 0, 0, Keep, Keep},
		{"low and flat, little loss", flat(1e6), .03, 4, Down, Keep},
		{"low and flat, many NACKs, no loss", flat(1e6), 0, 60, Keep, Keep},
		{"low and flat, more loss", flat(1e6), .12, 4, Down, Keep},
		{"rising, little loss", rising, .05, 8, Keep, Keep},
		{"rising, more loss", rising, .12, 8, Down, Keep},
		{"rising, many NACKs", rising, .05, 30, Keep, Keep},
		{"it fell, no loss", func(d time.Duration) float64 { return max(800e3, 4e6-2e6*d.Seconds()) }, 0, 0, Down, Keep},
		{"it dips", func(d time.Duration) float64 {
			if d == 2*time.Second {
				return 800e3
			}
			return 3e6
		}, 0, 0, Keep, Keep},
		{"NACKs alone, very many", flat(3e6), 0, 60, Keep, Keep},
		{"very many NACKs, and reports that disagree", flat(3e6), .12, 60, Keep, Keep},
		{"very many NACKs, confirmed by reports", flat(3e6), .15, 60, Down, Down},
		{"loss alone", flat(3e6), .2, 8, Down, Down},
	} {
		t.Run(c.name, func(t *testing.T) {
			for lowest, want := range map[bool]Verdict{false: c.layer, true: c.lowest} {
				d := New(Config{})
				d.Lowest(lowest)
				got := steady(d, 0, 5*time.Second, func(now time.Time) {
					d.Estimate(now, c.remb(now.Sub(epoch)))
					d.Report(now, c.loss)
					d.Nacked(now, c.nack)
				})
				require.Equal(t, want, got, "lowest layer: %t", lowest)
			}
		})
	}
}

// A viewer that sends NACKs and no reports is judged by its NACKs.
func TestNACKsOfAViewerWithoutReports(t *testing.T) {
	d := New(Config{})
	require.Equal(t, Down, steady(d, 0, 12*time.Second, func(now time.Time) { d.Nacked(now, 60) }))
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

func TestBreaker(t *testing.T) {
	repeat := func(f float64, n int) []float64 { return slices.Repeat([]float64{f}, n) }
	for _, c := range []struct {
		name  string
		loss  []float64 // one report a second
		after int       // reports until it trips; 0: it does not
	}{
		{"nothing lost", repeat(0, 300), 0},
		{"nearly half lost, for ever", repeat(.49, 300), 0},
		{"half lost", repeat(.5, 300), 31},
		{"all lost", repeat(1, 300), 31},
		{"29 s, and good again", slices.Concat(repeat(.9, 30), repeat(0, 300)), 0},
		{"good seconds are taken off", slices.Concat(repeat(.9, 30), repeat(0, 15), repeat(.9, 30)), 61},
		{"bad and good in turn", slices.Repeat([]float64{1, 0}, 300), 0},
		{"two bad for a good one", slices.Repeat([]float64{0, 1, 1}, 300), 87},
		{"bad, a long time ago", slices.Concat(repeat(1, 29), repeat(0, 60), repeat(1, 29)), 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, tripped := NewBreaker(Config{}), 0
			for i, f := range c.loss {
				if b.Report(at(time.Duration(i)*time.Second), f); b.Tripped() && tripped == 0 {
					tripped = i + 1
				}
			}
			require.Equal(t, c.after, tripped)
			require.Equal(t, c.after > 0, b.Tripped(), "it stays so")
		})
	}
}

// The time between two reports counts, and one report speaks for a few seconds at
// most.
func TestBreakerCountsTime(t *testing.T) {
	b := NewBreaker(Config{Patience: 10 * time.Second})
	b.Report(at(0), 1)
	b.Report(at(time.Hour), 1)
	require.False(t, b.Tripped())
	b.Skip(at(2 * time.Hour))
	b.Report(at(2*time.Hour+time.Second), 1)
	require.False(t, b.Tripped())
	b.Report(at(2*time.Hour+2*time.Second), 1)
	require.True(t, b.Tripped())
	var none Breaker
	for i := range 1000 {
		none.Report(at(time.Duration(i)*time.Second), 1)
	}
	require.False(t, none.Tripped())
}

func TestVerdictsHaveNames(t *testing.T) {
	for v, name := range map[Verdict]string{Keep: "keep", Down: "down", Up: "up", 99: "unknown"} {
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
