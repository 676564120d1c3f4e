package ratemeter

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func cost(m *Meter, since time.Duration) float64 {
	b := m.Bitrates(since)
	return b.Whole()
}

func TestMeter(t *testing.T) {
	var m Meter
	require.Zero(t, cost(&m, time.Hour))
	at := time.Hour
	send := func(d time.Duration, size int) {
		for end := at + d; at < end; at += 20 * time.Millisecond {
			m.Add(at, 0, size)
		}
	}
	send(3*time.Second, 1000) // 400 kbit/s
	require.InDelta(t, 400e3, cost(&m, at), 10e3)
	m.Add(at, 0, 20_000) // a keyframe
	send(time.Second, 1000)
	require.InDelta(t, 560e3, cost(&m, at), 10e3)
	send(3*time.Second, 500)
	require.InDelta(t, 560e3, cost(&m, at), 10e3, "it counts for five seconds")
	send(3*time.Second, 500)
	require.InDelta(t, 200e3, cost(&m, at), 10e3)
	require.Zero(t, cost(&m, at+10*time.Second), "nothing comes anymore")
	require.Zero(t, cost(&m, at+time.Hour))
}

// TestMeterAgainstAll compares with a count over all packets.
func TestMeterAgainstAll(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	type packet struct {
		at   time.Duration
		size int
	}
	var m Meter
	var all []packet
	for at := time.Duration(0); at < 15*time.Second; at += time.Millisecond + time.Duration(rng.IntN(80))*time.Millisecond {
		all = append(all, packet{at, 1 + rng.IntN(1200)})
		m.Add(at, 0, all[len(all)-1].size)
		slot := at / slotTime
		var want int
		for end := slot - 40; end <= slot; end++ { // the seconds that count for sure
			sum := 0
			for _, p := range all {
				if s := p.at / slotTime; s > end-second && s <= end {
					sum += p.size
				}
			}
			want = max(want, sum)
		}
		require.GreaterOrEqual(t, cost(&m, at), float64(8*want))
	}
}

// Of temporal layers the peaks are of what is sent together, and not of each.
func TestTemporalLayers(t *testing.T) {
	var m Meter
	at := time.Hour
	second := func(sizes ...int) {
		for i, size := range sizes {
			m.Add(at, uint8(i), size)
		}
		at += time.Second
	}
	second(1000, 5000)
	second(4000, 1000)
	second(0, 0)
	b := m.Bitrates(at)
	require.Equal(t, Bitrates{32e3, 48e3, 48e3, 48e3, 48e3, 48e3, 48e3, 48e3}, b)
	require.Equal(t, 2, b.Count())
	m.Add(at, 3, 10)
	at += 6 * time.Second
	b = m.Bitrates(at)
	require.Zero(t, b.Count())
	second(0, 0, 0, 9)
	b = m.Bitrates(at)
	require.Equal(t, 4, b.Count())
	at += slotTime
	require.True(t, m.Add(at, 0, 1))
	require.False(t, m.Add(at+slotTime-1, 0, 1))
	require.True(t, m.Add(at+slotTime, 0, 1))
	require.False(t, m.Add(at, 200, 1), "time does not go back, and layers are bounded")
	require.Zero(t, testing.AllocsPerRun(100, func() {
		at += slotTime
		m.Add(at, 1, 1)
		b = m.Bitrates(at)
	}))
}

func BenchmarkMeter(b *testing.B) {
	var m Meter
	for i := 0; b.Loop(); i++ {
		m.Add(time.Duration(i)*3*time.Millisecond, uint8(i%3), 1200)
	}
}
