package bwe

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A reporter is the estimator of a viewer that is sent 230 packets a second, and sends reports
// alone.
type reporter struct {
	*Estimator
	now     time.Time
	highest uint32
}

func newReporter() *reporter { return &reporter{Estimator: New(Config{}, epoch), now: epoch} }

// second sends for a second, and then reports a loss and a round trip.
func (r *reporter) second(loss float64, rtt time.Duration) {
	for range 230 {
		r.now = r.now.Add(time.Second / 230)
		r.highest++
		r.SentPlain(r.now, 1, 1200)
	}
	r.Report(r.now, Report{SSRC: 1, Lost: uint8(loss * 256), Highest: r.highest, Sent: 230, RoundTrip: rtt})
}

// A viewer that only sends reports, one a second on 230 packets, each with a loss and a
// round trip: what is lost once and makes no queue is no congestion, nor is what seems lost
// at the start, where the packets of a burst have overtaken one another. What stays, makes
// a queue, or is very much later on, is.
func TestLossInReports(t *testing.T) {
	for name, c := range map[string]struct {
		loss []float64 // by report; the last one stays
		rtt  []time.Duration
		in   int // the report by which it is noticed; 0: never
	}{
		"none":                     {[]float64{0}, []time.Duration{100 * ms}, 0},
		"of the path":              {[]float64{0.05}, []time.Duration{100 * ms}, 0},
		"much at the start":        {[]float64{0.3, 0.08, 0.05}, []time.Duration{100 * ms}, 0},
		"much now and then":        {[]float64{0.05, 0.05, 0.2, 0.05, 0.05, 0.2, 0.05}, []time.Duration{100 * ms}, 0},
		"much that stays":          {[]float64{0.05, 0.05, 0.05, 0.2}, []time.Duration{100 * ms}, 5},
		"very much":                {[]float64{0.05, 0.05, 0.05, 0.4}, []time.Duration{100 * ms}, 4},
		"much from the start":      {[]float64{0.3}, []time.Duration{100 * ms}, 2},
		"very much from the start": {[]float64{0.4}, []time.Duration{100 * ms}, 1},
		"with a queue":             {[]float64{0.05, 0.05, 0.05, 0.4}, []time.Duration{100 * ms, 100 * ms, 100 * ms, 160 * ms}, 4},
		"a queue, and no loss":     {[]float64{0}, []time.Duration{100 * ms, 100 * ms, 200 * ms}, 4},
		"a queue for one report":   {[]float64{0}, []time.Duration{100 * ms, 100 * ms, 200 * ms, 110 * ms}, 0},
		"a long queue":             {[]float64{0}, []time.Duration{100 * ms, 100 * ms, 320 * ms}, 4},
		"one report that is late":  {[]float64{0}, []time.Duration{100 * ms, 100 * ms, 320 * ms, 105 * ms, 100 * ms, 320 * ms, 105 * ms}, 0},
		"a queue that drains":      {[]float64{0}, []time.Duration{100 * ms, 100 * ms, 250 * ms, 190 * ms, 110 * ms}, 0},
		"a short queue that stays": {[]float64{0}, []time.Duration{100 * ms, 100 * ms, 165 * ms}, 5},
		"jitter of the round trip": {[]float64{0.05}, []time.Duration{100 * ms, 130 * ms, 110 * ms, 135 * ms, 120 * ms}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			e, noticed := newReporter(), 0
			for n := 1; n <= 20 && noticed == 0; n++ {
				e.second(c.loss[min(n, len(c.loss))-1], c.rtt[min(n, len(c.rtt))-1])
				if e.State(e.now).Verdict == Overuse {
					noticed = n
				}
			}
			require.Equal(t, c.in, noticed)
		})
	}
}

// A viewer is sent 2.2 Mbit/s. From reports, one a second, follows what its path carries: if all
// was well before, it has become less at some time since, on average in the middle.
func TestCapacityByReports(t *testing.T) {
	for name, c := range map[string]struct {
		loss [2]float64 // in the last two reports
		rtt  [2]time.Duration
		part float64 // that is carried, of what is sent
	}{
		"a queue grows":     {[2]float64{0, 0}, [2]time.Duration{170 * ms, 420 * ms}, 1 / 1.25},
		"a full queue":      {[2]float64{0, 0.5}, [2]time.Duration{100 * ms, 400 * ms}, 0.5 / 2.1},
		"a queue stays":     {[2]float64{0.2, 0.5}, [2]time.Duration{400 * ms, 400 * ms}, 0.5},
		"losses begin":      {[2]float64{0, 0.5}, [2]time.Duration{100 * ms, 100 * ms}, 0.5 / 1.5},
		"losses, no longer": {[2]float64{0.3, 0.5}, [2]time.Duration{100 * ms, 100 * ms}, 0.5},
	} {
		t.Run(name, func(t *testing.T) {
			e := newReporter()
			for range 5 {
				e.second(0, 100*ms)
			}
			e.second(c.loss[0], c.rtt[0])
			e.lowered, e.bitrate = 0, 5e6 // what the first has shown is not looked at
			e.second(c.loss[1], c.rtt[1])
			s := e.State(e.now)
			require.Equal(t, Overuse, s.Verdict)
			require.InEpsilon(t, decrease*c.part*230*1200*8, s.Bitrate, 0.05)
		})
	}
}

// The first report tells what the path carries: no packets were sent before those that it is
// about.
func TestCapacityByTheFirstReport(t *testing.T) {
	e := newReporter()
	e.second(0.6, 0)
	s := e.State(e.now)
	require.Equal(t, Overuse, s.Verdict)
	require.Equal(t, ByLoss, s.LimitedBy)
	require.InEpsilon(t, decrease*0.4*230*1200*8, s.Bitrate, 0.05)
}

// Reports let the estimate grow to what arrives, which is less than what is sent, and not at
// all while a queue speaks against it.
func TestReportsRaiseToWhatArrives(t *testing.T) {
	for name, c := range map[string]struct {
		loss float64
		rtt  time.Duration
		want float64 // of what is sent
	}{
		"no loss":         {0, 100 * ms, 1},
		"some loss":       {0.08, 100 * ms, 0.92},
		"a queue":         {0, 170 * ms, 0.4},
		"loss in a queue": {0.08, 170 * ms, 0.4},
	} {
		t.Run(name, func(t *testing.T) {
			e := newReporter()
			for range 5 {
				e.second(0, 100*ms)
			}
			const sent = 230 * 1200 * 8
			e.bitrate = 0.4 * sent
			e.second(c.loss, c.rtt)
			require.InEpsilon(t, c.want*sent, e.State(e.now).Bitrate, 0.02)
		})
	}
}

// However many packets a viewer asks for again, its reports tell whether too much is sent:
// repairs that come late, or not at all, are asked for ten times.
func TestRequestsAreNoVerdict(t *testing.T) {
	e := newReporter()
	for range 30 {
		e.Nack(200)
		require.NotEqual(t, Overuse, e.State(e.now).Verdict)
		e.second(0.05, 100*ms)
		require.NotEqual(t, Overuse, e.State(e.now).Verdict)
	}
}

// Nothing is known of a probe that no report tells of.
func TestProbeThatNobodyTellsOf(t *testing.T) {
	for _, tells := range []bool{false, true} {
		e := newReporter()
		for range 5 {
			e.second(0, 100*ms)
		}
		e.StartProbe(e.now, Probe{ID: 1, Rate: 3e6, Duration: 400 * ms})
		before := e.State(e.now).Bitrate
		if tells {
			e.second(0, 100*ms)
		} else {
			e.now = e.now.Add(reportsAnswer + time.Second/2 + 200*ms)
		}
		s := e.State(e.now)
		require.True(t, s.Probe.Done)
		require.Equal(t, tells, s.Probe.Rate > 0)
		require.Equal(t, !tells, s.Probe.Unknown)
		if !tells {
			require.Equal(t, before, s.Bitrate)
		}
	}
}
