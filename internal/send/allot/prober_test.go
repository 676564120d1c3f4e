package allot

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/internal/send/bwe"
)

// Congestion just after a probe is the probe's and passes, unless far less arrives than what is
// sent besides takes.
func TestCongestionOfAProbe(t *testing.T) {
	for name, c := range map[string]struct {
		arrives float64 // of what the rung costs
		down    bool
	}{"what was sent before": {1.1, false}, "most of it": {0.8, false}, "far less": {0.4, true}} {
		t.Run(name, func(t *testing.T) {
			v := newViewer(t, Config{})
			v.climb()
			v.pass(20 * time.Second)
			v.congest(1000e3)
			v.state.Acknowledged = 0.3 * v.state.Sent
			v.look()
			require.Equal(t, mid, v.rung)
			v.clear()
			v.state.Probe = bwe.ProbeResult{}
			v.probes = nil
			for len(v.probes) == 0 {
				v.pass(20 * time.Second)
			}
			cost := v.ladder[mid].Cost
			v.congest(c.arrives * cost)
			v.state.Acknowledged, v.state.Sent = c.arrives*cost, 2*cost
			v.state.Queue, v.state.RoundTrip = 60*ms, 160*ms
			v.pass(yieldAfter)
			require.Equal(t, c.down, v.rung < mid)
		})
	}
}

// No probe begins while more is lost than the path loses anyway.
func TestNoProbeIntoLosses(t *testing.T) {
	for name, c := range map[string]struct {
		loss, inherent float64
		probes         bool
	}{"none": {0, 0, true}, "the path's own": {0.2, 0.15, true}, "more": {0.2, 0.05, false}} {
		t.Run(name, func(t *testing.T) {
			v := newViewer(t, Config{})
			v.state.Loss, v.state.Inherent = c.loss, c.inherent
			v.pass(5 * time.Second)
			require.Equal(t, c.probes, len(v.probes) > 0)
		})
	}
}

// Probes that are nearly empty, since there is hardly anything to repeat, come more and more seldom,
// until one tells something. Those whose answers were lost do not.
func TestEmptyProbesBackOff(t *testing.T) {
	v := newViewer(t, Config{})
	v.pass(time.Second)
	nothing := func(empty bool) time.Duration {
		v.state.Probe = bwe.ProbeResult{ID: v.probes[len(v.probes)-1].ID, Done: true, Unknown: true, Empty: empty}
		_, after := v.pass(time.Minute)
		return after
	}
	for range 10 {
		require.InDelta(t, 500*ms, nothing(false), float64(100*ms), "it is known to be full")
	}
	for i, want := range []time.Duration{500 * ms, 750 * ms, 1125 * ms, 1687 * ms, 2531 * ms, 3796 * ms, 5695 * ms, 6 * time.Second, 6 * time.Second} {
		require.InDelta(t, want, nothing(true), float64(100*ms), "wait %d", i)
	}
	v.answer(1e9, false)
	v.await(time.Minute)
	require.InDelta(t, 500*ms, nothing(true), float64(100*ms), "that was another one")
}
