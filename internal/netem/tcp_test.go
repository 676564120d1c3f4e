package netem

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// share sends packets of 1,500 bytes at a bitrate for a time beside what else is on the
// link. It returns the part of them that got through, and the mean wait.
func share(l *Link, rate int, during time.Duration) (through float64, wait time.Duration) {
	interval := time.Second * segment * 8 / time.Duration(rate)
	count := int(during / interval)
	got := carry(l, count, segment, interval)
	var sum time.Duration
	for _, c := range got {
		sum += c.took - l.path.Delay
	}
	return float64(len(got)) / float64(count), sum / time.Duration(len(got))
}

func TestFlowFillsTheQueue(t *testing.T) {
	p := Path{Rate: 2_000_000, Delay: 50 * ms, Queue: 300 * ms}
	through, wait := share(newLink(p, 1), 200_000, time.Minute)
	require.EqualValues(t, 1, through)
	require.Equal(t, 6*ms, wait, "alone, a packet waits for nothing")

	p.TCP = 1
	l := newLink(p, 1)
	through, wait = share(l, 200_000, time.Minute)
	require.Greater(t, through, 0.95)
	require.InDelta(t, 200, float64(wait/ms), 80, "a flow keeps the queue between half full and full")
	delivered := float64(l.flows.all[0].sent*segment*8) / 60
	require.InDelta(t, 1_800_000, delivered, 100_000, "what the packets leave")
}

func TestFlowsShareFairly(t *testing.T) {
	l := newLink(Path{Rate: 6_000_000, Delay: 25 * ms, Queue: 100 * ms, TCP: 3}, 3)
	_, _ = share(l, 100_000, 2*time.Minute)
	require.Len(t, l.flows.all, 3)
	for _, f := range l.flows.all {
		require.InDelta(t, 2_000_000, float64(f.sent*segment*8)/120, 600_000)
	}
}

func TestFlowYieldsToLoss(t *testing.T) {
	rate := func(loss float64) float64 {
		l := newLink(Path{Rate: 50_000_000, Delay: 50 * ms, Loss: loss, TCP: 1}, 1)
		_, _ = share(l, 100_000, time.Minute)
		return float64(l.flows.all[0].sent*segment*8) / 60
	}
	// Mathis: 1.22 segments a round trip, over the square root of the loss.
	require.InEpsilon(t, 1.22*segment*8/0.1/0.1, rate(0.01), 0.35)
	require.Greater(t, rate(0.001), 2*rate(0.01))
}

func TestShortFlows(t *testing.T) {
	p := Path{Rate: 2_000_000, Delay: 50 * ms, Queue: 300 * ms, TCP: 10, TCPBytes: 100_000, TCPPause: 10 * time.Second}
	l := newLink(p, 1)
	through, wait := share(l, 200_000, 2*time.Minute)
	require.Greater(t, through, 0.9)
	require.Greater(t, wait, 10*ms)
	var sent float64
	for _, f := range l.flows.all {
		sent += float64(f.sent*segment*8) / 120
	}
	require.Less(t, sent, 1_000_000., "ten transfers of 0.8 Mbit in 10 s at most")
	require.Greater(t, sent, 400_000.)
	again := newLink(p, 1)
	t2, w2 := share(again, 200_000, 2*time.Minute)
	require.Equal(t, through, t2)
	require.Equal(t, wait, w2)
}

func TestFlowsComeAndGo(t *testing.T) {
	p := Path{Rate: 2_000_000, Delay: 50 * ms, Queue: 300 * ms}
	l := newLink(p, 1)
	require.Zero(t, waitAfter(l, time.Second))
	p.TCP = 1
	l.SetPath(p)
	_, _ = l.Carry(epoch.Add(time.Second), 100)
	require.Greater(t, waitAfter(l, 10*time.Second), 50*ms)
	p.TCP = 0
	l.SetPath(p)
	_, _ = l.Carry(epoch.Add(10*time.Second), 100)
	require.Zero(t, waitAfter(l, 11*time.Second))
	p.TCP, p.Rate = 1, 0
	l.SetPath(p) // nothing to share: no flow, and no end of time
	_, _ = l.Carry(epoch.Add(12*time.Second), 100)
	require.Empty(t, l.flows.all)
}

// waitAfter returns how long a packet waits that enters after a time.
func waitAfter(l *Link, after time.Duration) time.Duration {
	now := epoch.Add(after)
	l.flows.advance(l, now)
	return l.Wait(now)
}

func TestFlowSurvivesAnOutage(t *testing.T) {
	p := Path{Rate: 2_000_000, Delay: 10 * ms, TCP: 1}
	l := newLink(p, 1)
	l.flows.advance(l, epoch.Add(5*time.Second))
	p.Loss = 1
	l.SetPath(p)
	l.flows.advance(l, epoch.Add(15*time.Second))
	sent := l.flows.all[0].sent
	p.Loss = 0
	l.SetPath(p)
	l.flows.advance(l, epoch.Add(25*time.Second))
	require.Greater(t, l.flows.all[0].sent, sent+500)
}

// Flows that pause do not count as transfers.
func TestTransfers(t *testing.T) {
	p := Path{Rate: 2_000_000, Delay: 50 * ms, Queue: 300 * ms, TCP: 3}
	l := newLink(p, 1)
	require.Zero(t, l.Transfers())
	_, _ = share(l, 200_000, time.Second)
	require.Equal(t, 3, l.Transfers(), "these never end")

	p.TCPBytes, p.TCPPause = 15_000, time.Second
	l = newLink(p, 1)
	var seen [4]int
	for at := time.Second; at < time.Minute; at += 20 * ms {
		_, _ = l.Carry(epoch.Add(at), 100)
		seen[l.Transfers()]++
	}
	require.NotZero(t, seen[0])
	require.NotZero(t, seen[1])
	require.Greater(t, seen[0]+seen[1], seen[2]+seen[3], "they pause most of the time")
}
