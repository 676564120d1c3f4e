package allot

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/internal/send/bwe"
)

// newReporter returns a viewer of which only reports tell. They come once a second.
func newReporter(t *testing.T, c Config) *viewer {
	v := newViewer(t, c)
	v.state.Source, v.state.Alone = bwe.Reports, true
	return v
}

// report says that reports have come, and lets some time pass.
func (v *viewer) report(after time.Duration) {
	v.state.Reports++
	v.look()
	v.pass(after)
}

// A step is followed by another once two reports have told of the time after it, the first of
// which may be about the time before it.
func TestReportsShowAStep(t *testing.T) {
	for name, c := range map[string]struct {
		reports []time.Duration // after the step
		after   time.Duration
	}{
		"two":                  {[]time.Duration{500 * ms, 1500 * ms}, 1500 * ms},
		"one that left before": {[]time.Duration{50 * ms, 1050 * ms, 2050 * ms}, 2050 * ms},
		"too few":              {[]time.Duration{1000 * ms}, effectCoarse + 250*ms},
	} {
		t.Run(name, func(t *testing.T) {
			v := newReporter(t, Config{Strategy: Quality})
			v.now = v.now.Add(20 * time.Second)
			v.look()
			v.congest(2e6)
			v.state.Acknowledged = 0.5 * v.state.Sent
			v.look()
			require.Equal(t, high, v.rung)
			stepped := v.now
			v.congest(500e3)
			for past := time.Duration(0); v.rung == high && past < 5*time.Second; {
				past += 50 * ms
				v.now = stepped.Add(past)
				if len(c.reports) > 0 && past >= c.reports[0] {
					v.state.Reports++
					c.reports = c.reports[1:]
				}
				v.look()
			}
			require.InDelta(t, c.after, v.now.Sub(stepped), float64(60*ms))
			require.Equal(t, low, v.rung)
		})
	}
}

// The queue of a probe is excused until two reports have told of the time after it.
func TestReportsOfAProbesQueue(t *testing.T) {
	v := newReporter(t, Config{})
	v.pass(time.Second)
	require.Len(t, v.probes, 1)
	v.now = v.now.Add(aloneTime)
	v.congest(500e3)
	v.report(900 * ms)
	require.Equal(t, mid, v.rung, "it may be the probe's")
	v.report(900 * ms)
	require.Equal(t, mid, v.rung, "this was sent with the probe's end")
	v.report(200 * ms)
	require.Equal(t, low, v.rung, "it stays")
}

// After probes that did no harm the next comes soon, and need not show once more what the one
// before it has. What was learned of a path says nothing of it after a fall.
func TestCoarseProbesGoOn(t *testing.T) {
	v := newReporter(t, Config{})
	v.pass(time.Second)
	v.answer(1e9, false)
	v.await(time.Second)
	require.Len(t, v.probes, 2)
	require.InDelta(t, coarsely*v.probes[0].Rate, v.probes[1].Rate, 0.03*v.probes[1].Rate)
	for range 6 {
		v.answer(0, false)
		_, after := v.pass(time.Minute)
		require.LessOrEqual(t, after, harmless+50*ms)
		last := v.probes[len(v.probes)-1]
		require.InDelta(t, v.probes[1].Rate, last.Rate, 1)
	}
	for range 6 {
		v.answer(0, true)
		v.pass(3 * time.Minute)
	}
	require.InDelta(t, coarsely*v.ladder[mid].Cost, v.probes[len(v.probes)-1].Rate, 1, "from the beginning")
	v.answer(0, true)
	v.now = v.now.Add(5 * time.Second)
	v.congest(300e3)
	v.state.Acknowledged = 0.5 * v.state.Sent
	v.look()
	require.Equal(t, low, v.rung)
	v.clear()
	v.state.Probe = bwe.ProbeResult{}
	_, after := v.pass(time.Minute)
	require.InDelta(t, 3*time.Second, after, float64(60*ms))
}

// A step up that is taken back in two steps has failed once: the second is no fall of the path,
// which would make the next attempt come sooner.
func TestBackOffOutlivesTwoSteps(t *testing.T) {
	v := newReporter(t, Config{})
	v.climb()
	var rungs []int
	for _, rate := range []float64{1000e3, 300e3} { // less than before, the second time
		v.congest(rate)
		v.state.Acknowledged = 0.5 * v.state.Sent
		before := v.rung
		for range 5 {
			if v.rung == before {
				v.report(time.Second)
			}
		}
		rungs = append(rungs, v.rung)
	}
	require.Equal(t, []int{mid, low}, rungs)
	require.Greater(t, v.policy.(*Adaptive).prober.wait, v.policy.(*Adaptive).prober.temper.hold)
}

// A probe that nobody tells of says nothing against what the one before it has carried: the next
// goes as far.
func TestProbeThatNobodyTellsOf(t *testing.T) {
	for _, told := range []bool{true, false} {
		v := newReporter(t, Config{Strategy: Careful})
		v.await(10 * time.Second)
		v.answer(1e9, false)
		v.await(10 * time.Second)
		require.Len(t, v.probes, 2)
		v.state.Probe = bwe.ProbeResult{ID: v.probes[1].ID, Done: true, Unknown: !told, Harm: told}
		v.now = v.now.Add(recent + time.Second)
		v.look()
		v.await(10 * time.Second)
		require.Len(t, v.probes, 3)
		if told {
			require.Less(t, v.probes[2].Rate, v.probes[1].Rate)
		} else {
			require.InEpsilon(t, v.probes[1].Rate, v.probes[2].Rate, 0.01)
		}
	}
}

// A probe that nobody tells of says nothing for what was carried long ahead of it, either.
func TestProbeThatNobodyTellsOfRevivesNothing(t *testing.T) {
	v := newViewer(t, Config{Strategy: Careful})
	v.await(10 * time.Second)
	require.Len(t, v.probes, 1)
	p := &v.policy.(*Adaptive).prober
	p.carried, p.answered = 4e6, p.asked.Add(-10*time.Minute)
	v.state.Probe = bwe.ProbeResult{ID: v.probes[0].ID, Done: true, Unknown: true}
	v.now = v.now.Add(time.Second)
	v.look()
	v.await(10 * time.Second)
	require.Len(t, v.probes, 2)
	require.InEpsilon(t, v.probes[0].Rate, v.probes[1].Rate, 0.01)
}

// Reports come once a second: what they tell has lasted, and others have had the time to yield.
func TestReportsNeedLittlePatience(t *testing.T) {
	v := newReporter(t, Config{Strategy: Quality})
	v.now = v.now.Add(20 * time.Second)
	v.congest(2.4e6) // most gets through
	_, after := v.pass(time.Second)
	require.InDelta(t, climberYieldAfter, after, float64(60*ms))
	require.Equal(t, high, v.rung)
}
