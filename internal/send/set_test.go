package send

import (
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/internal/send/allot"
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

// What a viewer tells of its path comes often. It does not end the steady state, unless
// something else is to be sent.
func TestSteadyStateOutlastsFeedback(t *testing.T) {
	withViewer(t, sendtest.Config{Track: sendtest.VP8("h", "l")}, func(v *viewer) {
		v.Layers[0].Filler, v.Layers[1].Filler = 1100, 100
		v.Layers[0].KeyEvery, v.Layers[1].KeyEvery = 30, 30
		v.Play(time.Second, 0)
		low := false
		v.join(Config{Policy: func() allot.Policy {
			return policyFunc(func(w allot.View) allot.Choice {
				if low {
					return allot.Choice{Rung: w.Ladder.Lowest(), Reason: allot.Congestion}
				}
				return allot.Choice{Rung: len(w.Ladder) - 1}
			})
		}})
		v.Play(4 * time.Second)
		estimate := &rtcp.ReceiverEstimatedMaximumBitrate{SenderSSRC: 9, Bitrate: 5e6, SSRCs: []uint32{1}}
		steady := 0
		for range 30 {
			v.Play(sendtest.FrameTime)
			was := v.set.steady
			v.says(estimate)
			sent := &v.sender.reports
			require.Equal(t, sent.packets+sent.repairs, sent.told.packets, "the path knows what was sent")
			if was && v.set.steady {
				steady++
			}
		}
		require.Greater(t, steady, 15, "estimates leave the fast path alone, but where the policy is asked")
		require.Equal(t, v.Layers[0].Layer, v.sender.feed.layer)

		low = true
		for range 60 {
			v.Play(sendtest.FrameTime)
			v.says(estimate)
		}
		require.Equal(t, v.Layers[1].Layer, v.sender.feed.layer, "what the policy says is done")
		v.Play(sendtest.FrameTime)
		v.says(estimate, nack(v.last().SequenceNumber, 0))
		require.False(t, v.set.steady)
	})
}

// policyFunc is a policy.
type policyFunc func(allot.View) allot.Choice

func (f policyFunc) Choose(v allot.View) allot.Choice { return f(v) }
