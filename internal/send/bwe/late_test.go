package bwe

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/internal/netem"
)

// Losses of what was too much are heard of after little more than sound is sent. They say
// nothing of that, and the estimate stays what the path carries. Losses of what is sent now
// lower it.
func TestLossOfWhatWasSentBefore(t *testing.T) {
	narrow := netem.Path{Delay: 50 * ms, Rate: 1e6, Queue: 300 * ms}
	v := newViewer(Config{Start: 5e6}, narrow)
	v.run(700*ms, 2.5e6, 3)
	require.InDelta(t, 0.85e6, v.state().Bitrate, 0.1e6)
	v.run(2*time.Second, 75e3, 1)
	require.InDelta(t, 0.85e6, v.state().Bitrate, 0.15e6)

	v = newViewer(Config{Start: 2.5e6}, netem.Path{Delay: 50 * ms, Loss: 0.4})
	v.run(2*time.Second, 2.5e6, 3)
	require.Less(t, v.state().Bitrate, 2e6)
	require.Equal(t, ByLoss, v.state().LimitedBy)
}

// For a while after the estimate was lowered, losses are of packets that were sent before. They
// must not lower it again: what has been sent since then fits the path.
func TestLossOfBeforeADecrease(t *testing.T) {
	v := newViewer(Config{}, home)
	v.run(10*time.Second, 2e6, 1)
	// Two packets of queue: no delay tells that the path is full.
	v.link.SetPath(with(home, func(p *netem.Path) { p.Rate, p.QueueBytes = 1_000_000, 2500 }))
	for v.over == 0 {
		v.run(10*ms, 2e6, 1)
	}
	lowered := v.state().Bitrate
	require.InEpsilon(t, 0.9e6, lowered, 0.15)
	end := v.now + time.Second
	for v.now < end {
		v.run(10*ms, 500e3, 1)
		require.GreaterOrEqual(t, v.state().Bitrate, lowered, "%v before the end", end-v.now)
	}
	require.Equal(t, Normal, v.state().Verdict)
	// What is lost of what was sent since counts.
	v.over = 0
	v.run(time.Second, 2e6, 1)
	require.NotZero(t, v.over)
}

// A probe of which little was sent, as when the sender comes late, tells of no limit of the path.
func TestProbeThatWasNearlyEmpty(t *testing.T) {
	for name, c := range map[string]struct {
		sent, capacity float64
		unknown        bool
	}{
		"nearly empty":          {600e3, 5e6, true},
		"what it was to be":     {2e6, 5e6, false},
		"nearly empty, refused": {600e3, 300e3, false},
	} {
		t.Run(name, func(t *testing.T) {
			v := newViewer(Config{}, with(home, func(p *netem.Path) { p.Rate = int(c.capacity) }))
			v.run(5*time.Second, 200e3, 1)
			v.StartProbe(v.time(), Probe{ID: 1, Rate: 2e6, Duration: 300 * ms})
			v.run(300*ms, c.sent, 1)
			v.run(2*time.Second, 200e3, 1)
			p := v.state().Probe
			require.True(t, p.Done)
			require.Equal(t, c.unknown, p.Unknown, "%+v", p)
			require.Equal(t, c.sent < 2e6, p.Empty)
		})
	}
}

// A probe whose packets the viewer says nothing of was not empty for that.
func TestProbeThatWasNotHeardOf(t *testing.T) {
	v := newViewer(Config{}, home)
	v.mute = Padding
	v.run(5*time.Second, 200e3, 1)
	v.StartProbe(v.time(), Probe{ID: 1, Rate: 1e6, Duration: 300 * ms})
	v.flags = Padding
	v.run(300*ms, 1e6, 1)
	v.flags = Media
	v.run(2*time.Second, 200e3, 1)
	p := v.state().Probe
	require.True(t, p.Done && p.Unknown && !p.Empty, "%+v", p)
}
