package bwe

import (
	"encoding/binary"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/internal/send/bwe/bwetest"
)

// TestForgedAcknowledgements: of packets that were not sent, or that are acknowledged
// again.
func TestForgedAcknowledgements(t *testing.T) {
	v := newViewer(Config{}, home)
	v.run(5*time.Second, 1e6, 2)
	honest := v.state()
	arrivals := make([]bwetest.Arrival, 0, 3000)
	for i := range 3000 {
		arrivals = append(arrivals, bwetest.Arrival{Number: v.seq + 10 + i, At: v.now})
	}
	for range 100 {
		v.now += ms
		require.NoError(t, v.Feedback(v.time(), bwetest.Feedback(0, v.seq+10, arrivals)))
		again := []bwetest.Arrival{{Number: v.seq - 50, At: v.now}}
		require.NoError(t, v.Feedback(v.time(), bwetest.Feedback(0, v.seq-50, again)))
	}
	require.Equal(t, honest.Acknowledged, v.state().Acknowledged)
	require.Equal(t, honest.Bitrate, v.state().Bitrate)
}

// TestForgedTimes: all packets are said to have arrived at once, and earlier than
// possible.
func TestForgedTimes(t *testing.T) {
	v := newViewer(Config{Start: 300e3}, home)
	for range 1200 {
		first := v.seq
		v.run(50*ms, 1e6, 1)
		v.messages = nil
		var all []bwetest.Arrival
		for i := first; i < v.seq; i++ {
			all = append(all, bwetest.Arrival{Number: i, At: v.now / 1000})
		}
		require.NoError(t, v.Feedback(v.time(), bwetest.Feedback(0, first, all)))
	}
	require.Less(t, v.state().Acknowledged, 1.3e6)
	require.Less(t, v.state().Bitrate, 1.6*1.3e6)
}

func TestForgedProbe(t *testing.T) {
	v := newViewer(Config{}, home)
	v.run(5*time.Second, 1e6, 1)
	v.StartProbe(v.time(), Probe{ID: 1, Rate: 2e6, Duration: 100 * ms})
	first := v.seq
	v.run(150*ms, 2e6, 1)
	v.messages = nil
	var all []bwetest.Arrival
	for i := first; i < v.seq; i++ {
		all = append(all, bwetest.Arrival{Number: i, At: v.now + time.Duration(i-first)*250*time.Microsecond})
	}
	require.NoError(t, v.Feedback(v.time(), bwetest.Feedback(0, first, all)))
	r := v.state().Probe
	require.True(t, r.Done)
	require.Less(t, r.Rate, 2.3e6, "not more than was sent")
	require.Less(t, v.state().Bitrate, 5.1e6)
}

func TestCap(t *testing.T) {
	v := newViewer(Config{Cap: 800e3}, home)
	require.Equal(t, 800e3, v.state().Bitrate)
	v.run(30*time.Second, 2e6, 5)
	require.Equal(t, 800e3, v.state().Bitrate)
	require.Equal(t, ByCap, v.state().LimitedBy)
	v.Doze()
	for range 100 {
		v.now += 200 * ms
		v.Estimate(v.time(), math.Pow(2, 40))
	}
	require.Equal(t, 800e3, v.state().Bitrate)
	v.SetCap(0)
	v.Estimate(v.time(), math.Pow(2, 40))
	require.Less(t, v.state().Bitrate, 5.1e6, "what was assumed, or sent")
}

// TestForgedEstimates: a high one is no more than what is sent makes plausible.
func TestForgedEstimates(t *testing.T) {
	e := New(Config{ReceiverEstimate: true, Start: 1e6}, epoch)
	now := epoch
	for range 1000 {
		now = now.Add(10 * ms)
		e.SentPlain(now, 1, 1000) // 0.8 Mbit/s
		e.Estimate(now, math.Pow(2, 40))
	}
	require.Less(t, e.State(now).Bitrate, 1.3e6)
	for _, odd := range []float64{0, -1, math.NaN(), math.Inf(1)} {
		e.Estimate(now, odd)
		b := e.State(now).Bitrate
		require.False(t, math.IsNaN(b) || b < leastRate || b > 1.3e6, "%v", odd)
	}
}

// TestNackFlood: requests alone mean nothing.
func TestNackFlood(t *testing.T) {
	v := newViewer(Config{}, home)
	v.run(5*time.Second, 1e6, 2)
	before := v.state()
	for range 10_000 {
		v.Nack(math.MaxInt)
	}
	after := v.state()
	require.True(t, after.Trouble)
	after.Trouble = false
	require.Equal(t, before, after)
}

// FuzzEstimator: whatever comes, the estimate stays within its bounds.
func FuzzEstimator(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, bwetest.Feedback(0, 0, []bwetest.Arrival{{Number: 0, At: ms}}))
	f.Add([]byte{0, 0, 0, 3, 7, 1, 9, 6, 0, 0, 2, 2, 8, 5, 255, 3}, bwetest.Feedback(0, 65535, []bwetest.Arrival{{Number: 65536, At: time.Hour}}))
	f.Fuzz(func(t *testing.T, steps, message []byte) {
		const most = 3e6
		e := New(Config{Cap: most, TransportFeedback: true, ReceiverEstimate: true}, epoch)
		now, seq := epoch, uint16(65500)
		for i, s := range steps {
			now = now.Add(time.Duration(s) * ms)
			switch s % 10 {
			case 0, 1:
				e.Sent(seq, now, 1200, Flag(s))
				seq += 1 + uint16(s>>6)
			case 2:
				e.SentPlain(now, int(s>>4), int(s))
			case 3:
				if len(message) > 14 {
					binary.BigEndian.PutUint16(message[12:], seq-uint16(i))
				}
				_ = e.Feedback(now, message)
			case 4:
				e.Report(now, Report{SSRC: uint32(s), Lost: s, Highest: uint32(i) * uint32(s), RoundTrip: time.Duration(s) * ms})
			case 5:
				e.Estimate(now, math.Pow(2, float64(s>>2)))
			case 6:
				e.Nack(int(s))
			case 7:
				e.StartProbe(now, Probe{ID: uint32(i), Rate: float64(s) * 1e4, Duration: time.Duration(s) * ms})
			case 8:
				e.Doze()
			case 9:
				e.Wake(now)
			}
			state := e.State(now)
			require.GreaterOrEqual(t, state.Bitrate, float64(leastRate))
			require.LessOrEqual(t, state.Bitrate, float64(most))
			require.GreaterOrEqual(t, state.Loss, 0.)
			require.LessOrEqual(t, state.Loss, 1.)
			require.GreaterOrEqual(t, state.Queue, time.Duration(0))
		}
	})
}
