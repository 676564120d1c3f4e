package bwe

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A viewer's own estimate grows by a few percent a second, and so is far below the rate of
// a probe. That is no congestion, and the probe succeeds. An estimate that falls meanwhile
// speaks against it.
func TestProbeAboveAReceiversEstimate(t *testing.T) {
	for name, c := range map[string]struct {
		factor float64 // of the estimate, each 200 ms
		room   bool
	}{"grows": {1.016, true}, "falls": {0.9, false}} {
		t.Run(name, func(t *testing.T) {
			e := New(Config{ReceiverEstimate: true}, epoch)
			now, estimate, over := epoch, 0.9e6, false
			highest := uint32(0)
			run := func(d time.Duration, packets int) { // in 10 ms
				for end := now.Add(d); now.Before(end); {
					now = now.Add(10 * ms)
					for range packets {
						highest++
						e.SentPlain(now, 1, 750) // 0.6 Mbit/s for each of packets
					}
					if at := now.Sub(epoch); at%(200*ms) == 0 {
						e.Estimate(now, estimate)
					} else if at%time.Second == 10*ms {
						e.Report(now, Report{SSRC: 1, Highest: highest, RoundTrip: 100 * ms})
					}
					over = over || e.State(now).Verdict == Overuse
				}
			}
			run(5*time.Second, 1)
			require.False(t, over)
			e.StartProbe(now, Probe{ID: 1, Rate: 2.4e6, Duration: 600 * ms})
			for range 3 {
				estimate *= c.factor
				run(200*ms, 4)
			}
			run(3*time.Second, 1)
			p := e.State(now).Probe
			require.True(t, p.Done)
			if c.room {
				require.False(t, over, "the estimate is what it was")
				require.InDelta(t, 2.4e6, p.Rate, 1)
			} else {
				require.Zero(t, p.Rate)
			}
		})
	}
}

// A probe against which the viewer's own estimate speaks need not go on: it is answered ahead of
// its end.
func TestProbeIsRefusedAheadOfItsEnd(t *testing.T) {
	for name, fall := range map[string]float64{"fell": 0.9, "did not": 1.02} {
		t.Run(name, func(t *testing.T) {
			e := New(Config{ReceiverEstimate: true}, epoch)
			now := epoch
			run := func(d time.Duration) {
				for end := now.Add(d); now.Before(end); {
					now = now.Add(10 * ms)
					e.SentPlain(now, 1, 750)
				}
			}
			run(5 * time.Second)
			e.Estimate(now, 0.9e6)
			run(100 * ms)
			e.StartProbe(now, Probe{ID: 1, Rate: 1.2e6, Duration: 600 * ms})
			run(300 * ms)
			e.Estimate(now, fall*0.9e6)
			p := e.State(now).Probe
			require.Equal(t, fall < 1, p.Done)
			require.Zero(t, p.Rate)
			require.False(t, p.Harm)
		})
	}
}

// An estimate that has fallen below what is sent asks for a round trip, where nothing else can tell.
func TestEstimateFell(t *testing.T) {
	for name, c := range map[string]struct {
		fine bool
		to   float64
		want bool
	}{"fell": {false, 0.5e6, true}, "fell a little": {false, 0.88e6, false}, "there is better": {true, 0.5e6, false}} {
		e := New(Config{ReceiverEstimate: true, TransportFeedback: c.fine}, epoch)
		now := epoch
		for range 200 {
			now = now.Add(10 * ms)
			e.SentPlain(now, 1, 1000) // 0.8 Mbit/s
		}
		e.Estimate(now, 0.9e6)
		require.False(t, e.EstimateFell(), name)
		e.Estimate(now, c.to)
		require.Equal(t, c.want, e.EstimateFell(), name)
		require.False(t, e.EstimateFell(), "once")
	}
}

// A report that comes just after a probe does not answer it: a queue that the probe has made shows
// in the viewer's own estimate somewhat later.
func TestAReportJustAfterAProbe(t *testing.T) {
	for name, c := range map[string]struct {
		after time.Duration // the probe's end
		done  bool
	}{"just after": {130 * ms, false}, "later": {170 * ms, true}} {
		t.Run(name, func(t *testing.T) {
			e := New(Config{ReceiverEstimate: true}, epoch)
			now, highest := epoch, uint32(0)
			run := func(d time.Duration) {
				for end := now.Add(d); now.Before(end); {
					now = now.Add(10 * ms)
					highest++
					e.SentPlain(now, 1, 750)
				}
			}
			report := func() {
				e.Report(now, Report{SSRC: 1, Highest: highest, Sent: highest, RoundTrip: 100 * ms})
			}
			for range 5 {
				run(time.Second)
				e.Estimate(now, 0.9e6)
				report()
			}
			e.StartProbe(now, Probe{ID: 1, Rate: 1.2e6, Duration: 400 * ms})
			run(400 * ms)
			e.Estimate(now, 0.9e6)
			run(c.after)
			report()
			require.Equal(t, c.done, e.State(now).Probe.Done)
			if !c.done {
				e.Estimate(now, 0.7e6)
				p := e.State(now).Probe
				require.True(t, p.Done)
				require.Zero(t, p.Rate)
			}
		})
	}
}

// An estimate that has fallen while a probe is under way stays a sign of congestion for as
// long as it is low, though it falls no further.
func TestEstimateThatFellDuringAProbe(t *testing.T) {
	for name, fall := range map[string]float64{"fell": 0.5, "did not": 1} {
		t.Run(name, func(t *testing.T) {
			e := New(Config{ReceiverEstimate: true}, epoch)
			now, estimate := epoch, 0.9e6
			run := func(d time.Duration, packets int) { // in 10 ms
				for end := now.Add(d); now.Before(end); {
					now = now.Add(10 * ms)
					for range packets {
						e.SentPlain(now, 1, 750)
					}
					if now.Sub(epoch)%(200*ms) == 0 {
						e.Estimate(now, estimate)
					}
				}
			}
			run(5*time.Second, 1)
			e.StartProbe(now, Probe{ID: 1, Rate: 1.2e6, Duration: 600 * ms})
			estimate *= fall
			run(400*ms, 2)
			require.Equal(t, fall < 1, e.State(now).Trouble)
			run(200*ms, 2)
			require.Equal(t, fall < 1, e.State(now).Trouble)
		})
	}
}
