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
	v.run(4*time.Second, 2.5e6, 3)
	require.Less(t, v.state().Bitrate, 2e6)
	require.Equal(t, ByLoss, v.state().LimitedBy)
}
