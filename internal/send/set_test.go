package send

import (
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/internal/send/sendtest"
)

// In a steady state Consume takes its fast path. What has to be done now and then is done
// all the same, and in time.
func TestSteadyState(t *testing.T) {
	withViewer(t, sendtest.Config{}, func(v *viewer) {
		v.Play(time.Second, 0)
		v.join(Config{})
		v.Play(3*time.Second, 45)
		v.Packets, v.clocks = nil, nil
		first := v.layer.Next
		for range 6 * fps {
			v.Play(sendtest.FrameTime)
			require.True(t, v.set.steady)
		}
		require.Equal(t, 2*(v.layer.Next-first), len(v.Packets))
		for i := range v.Packets[1:] {
			require.Equal(t, v.Packets[i].SequenceNumber+1, v.Packets[i+1].SequenceNumber)
		}
		require.Len(t, v.clocks, 6, "sender reports")

		was := len(v.Packets)
		v.pause()
		v.Play(time.Second)
		require.Equal(t, was, len(v.Packets), "it waits for a keyframe")
		v.Play(time.Second, v.layer.Next)
		require.Greater(t, len(v.Packets), was)
	})
}

// The budget and the detector know what was sent in a steady state when feedback comes.
func TestSteadyStateIsAccountedFor(t *testing.T) {
	withViewer(t, sendtest.Config{}, func(v *viewer) {
		v.Play(time.Second, 0)
		v.join(Config{})
		v.Play(3*time.Second, 45)
		for v.sender.repairs.unaccounted == 0 {
			v.Play(sendtest.FrameTime)
		}
		v.set.HandleRTCP(time.Now(), nil)
		require.Zero(t, v.sender.repairs.unaccounted)
		require.False(t, v.set.steady)
	})
}

// A node has one or two senders for each of many viewers. The allocator's next size class
// is 256 bytes larger.
func TestSenderIsSmall(t *testing.T) {
	require.LessOrEqual(t, unsafe.Sizeof(Sender{}), uintptr(1792))
}
