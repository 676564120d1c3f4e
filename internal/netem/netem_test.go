package netem

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const ms = time.Millisecond

var epoch = time.Unix(1_000_000, 0)

func newLink(p Path, seed uint64) *Link { return NewLink(p, rand.New(rand.NewPCG(seed, 1))) }

// carried is a packet's number and how long it took.
type carried struct {
	number int
	took   time.Duration
}

// carry sends count packets of size bytes with headers, one every interval, and
// returns those that arrive.
func carry(l *Link, count, size int, interval time.Duration) (all []carried) {
	for i := range count {
		now := epoch.Add(time.Duration(i) * interval)
		if out, fate := l.Carry(now, size-Overhead); fate == Passed {
			all = append(all, carried{i, out.Sub(now)})
		}
	}
	return all
}

func TestPerfectPath(t *testing.T) {
	for i, c := range carry(newLink(Path{}, 1), 10, 1500, 0) {
		require.Equal(t, carried{i, 0}, c)
	}
}

func TestRateAndQueue(t *testing.T) {
	// A packet of 125 bytes takes a millisecond.
	tests := []struct {
		name    string
		path    Path
		arrive  int
		slowest time.Duration
	}{
		{"Time", Path{Rate: 1_000_000, Queue: 10 * ms}, 11, 11 * ms},
		{"TimeByDefault", Path{Rate: 1_000_000}, 201, 201 * ms},
		{"Bytes", Path{Rate: 1_000_000, QueueBytes: 5 * 125}, 5, 5 * ms},
		{"WhatIsLess", Path{Rate: 1_000_000, Queue: 3 * ms, QueueBytes: 5 * 125}, 4, 4 * ms},
		{"QueueSmallerThanAPacket", Path{Rate: 1_000_000, QueueBytes: 1}, 1, 1 * ms},
		{"Delay", Path{Rate: 1_000_000, Queue: 10 * ms, Delay: 7 * ms}, 11, 18 * ms},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := carry(newLink(test.path, 1), 500, 125, 0)
			require.Len(t, got, test.arrive)
			for i, c := range got {
				require.Equal(t, carried{i, test.path.Delay + time.Duration(i+1)*ms}, c)
			}
			require.Equal(t, test.slowest, got[len(got)-1].took)
		})
	}
}

func TestQueueDrains(t *testing.T) {
	l := newLink(Path{Rate: 1_000_000, Queue: 10 * ms}, 1)
	require.Len(t, carry(l, 20, 125, 0), 11)
	require.Equal(t, 11*ms, l.Wait(epoch))
	require.Equal(t, 1*ms, l.Wait(epoch.Add(10*ms)))
	require.Zero(t, l.Wait(epoch.Add(time.Second)))
	out, fate := l.Carry(epoch.Add(time.Second), 125-Overhead)
	require.Equal(t, Passed, fate)
	require.Equal(t, epoch.Add(1001*ms), out)
}

func TestPathChanges(t *testing.T) {
	l := newLink(Path{Rate: 1_000_000}, 1)
	require.Len(t, carry(l, 10, 125, 0), 10)
	l.SetPath(Path{Rate: 2_000_000, Delay: ms})
	require.Equal(t, 2_000_000, l.Path().Rate)
	out, _ := l.Carry(epoch, 125-Overhead)
	require.Equal(t, epoch.Add(10*ms+500*time.Microsecond+ms), out, "behind those that wait, at the new rate")
}

func TestLoss(t *testing.T) {
	first := carry(newLink(Path{Loss: 0.1}, 1), 10_000, 100, ms)
	require.InDelta(t, 9000, len(first), 4*math.Sqrt(900))
	require.Equal(t, first, carry(newLink(Path{Loss: 0.1}, 1), 10_000, 100, ms))
	require.NotEqual(t, first, carry(newLink(Path{Loss: 0.1}, 2), 10_000, 100, ms))
}

func TestJitterOfEachPacket(t *testing.T) {
	got := carry(newLink(Path{Delay: 10 * ms, Jitter: 20 * ms}, 1), 5000, 100, 5*ms)
	mean, neighbors := spread(got)
	require.InDelta(t, 20, mean, 1)
	require.InDelta(t, 0, neighbors, 0.1)
	require.Greater(t, overtaken(got, 5*ms), 500)
}

func TestJitterThatWanders(t *testing.T) {
	for _, p := range []Path{
		{Delay: 10 * ms, Jitter: 20 * ms, JitterPeriod: 100 * ms},
		{Delay: 10 * ms, Jitter: 50 * ms, JitterPeriod: 20 * ms}, // falls faster than time goes on
	} {
		got := carry(newLink(p, 1), 20_000, 100, 5*ms)
		mean, neighbors := spread(got)
		require.InDelta(t, float64(10*ms+p.Jitter/2)/float64(ms), mean, 4)
		require.Greater(t, neighbors, 0.7, "the delays of neighbors must be alike")
		require.Zero(t, overtaken(got, 5*ms))
		for _, c := range got {
			require.GreaterOrEqual(t, c.took, p.Delay)
			require.LessOrEqual(t, c.took, p.Delay+p.Jitter)
		}
		require.Equal(t, got, carry(newLink(p, 1), 20_000, 100, 5*ms))
	}
}

func TestJitterAfterSilence(t *testing.T) {
	l := newLink(Path{Jitter: 20 * ms, JitterPeriod: ms}, 1)
	for _, day := range []int{0, 10_000} { // not a draw for each millisecond in between
		now := epoch.AddDate(0, 0, day)
		out, _ := l.Carry(now, 100)
		require.Less(t, out.Sub(now), 20*ms)
	}
}

func TestReordering(t *testing.T) {
	for _, p := range []Path{
		{Reorder: 0.1, ReorderBy: 30 * ms},
		{Reorder: 0.1, ReorderBy: 30 * ms, Jitter: 10 * ms, JitterPeriod: 50 * ms},
	} {
		got := carry(newLink(p, 1), 10_000, 100, 10*ms)
		late := 0
		for _, c := range got {
			if c.took >= 30*ms {
				late++
			}
		}
		require.InDelta(t, 1000, late, 4*math.Sqrt(900))
		require.InDelta(t, late, overtaken(got, 10*ms), 250)
	}
	late := 0
	for _, c := range carry(newLink(Path{Reorder: 0.5}, 1), 100, 100, ms) {
		if c.took == defaultReorderBy {
			late++
		}
	}
	require.InDelta(t, 50, late, 20)
}

// spread returns the mean of the times taken, in milliseconds, and the
// correlation of neighbors.
func spread(all []carried) (mean, neighbors float64) {
	var sum, square, product float64
	for _, c := range all {
		sum += float64(c.took) / float64(ms)
	}
	mean = sum / float64(len(all))
	for i := 1; i < len(all); i++ {
		a, b := float64(all[i-1].took)/float64(ms)-mean, float64(all[i].took)/float64(ms)-mean
		square += a * a
		product += a * b
	}
	return mean, product / square
}

// overtaken counts the packets that arrive after one sent later.
func overtaken(all []carried, interval time.Duration) (count int) {
	for i := range all[:len(all)-1] {
		arrives := time.Duration(all[i].number)*interval + all[i].took
		next := time.Duration(all[i+1].number)*interval + all[i+1].took
		if next < arrives {
			count++
		}
	}
	return count
}

func BenchmarkCarry(b *testing.B) {
	for name, p := range map[string]Path{
		"Rate":   {Rate: 10_000_000, Delay: 50 * ms},
		"Jitter": {Rate: 10_000_000, Delay: 50 * ms, Jitter: 20 * ms, JitterPeriod: 100 * ms, Reorder: 0.01},
		"TCP":    {Rate: 10_000_000, Delay: 50 * ms, TCP: 3},
	} {
		b.Run(name, func(b *testing.B) {
			l, now := newLink(p, 1), epoch
			b.ReportAllocs()
			for b.Loop() {
				now = now.Add(2 * ms)
				_, _ = l.Carry(now, 1200)
			}
		})
	}
}
