package allot

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// simulcast is four layers, of which the last is not sent.
var simulcast = []Layer{
	{Height: 180, Bitrate: 160e3}, {Height: 360, Bitrate: 540e3}, {Height: 720, Bitrate: 1600e3}, {Height: 1080},
}

const sound = 50e3

func TestBuild(t *testing.T) {
	paused := Rung{Mode: Paused, Layer: -1, Cost: sound}
	stills := Rung{Mode: Keyframes, Layer: 0, Cost: sound + keyframesPart*160e3}
	full := func(layer int) Rung { return Rung{Mode: Full, Layer: layer, Cost: sound + simulcast[layer].Bitrate} }
	thinned := []Layer{{Bitrate: 1000e3, Temporal: []float64{400e3, 600e3, 1000e3}}, {Bitrate: 2000e3, Temporal: []float64{1, 2}}}
	tests := []struct {
		name   string
		layers []Layer
		limits Limits
		want   Ladder
	}{
		{"Nothing", nil, Limits{}, Ladder{paused}},
		{"NothingComes", []Layer{{Height: 180}}, Limits{}, Ladder{paused}},
		{"Simulcast", simulcast, Limits{}, Ladder{paused, stills, full(0), full(1), full(2)}},
		{"Height", simulcast, Limits{Height: 400}, Ladder{paused, stills, full(0), full(1)}},
		{"Bitrate", simulcast, Limits{Bitrate: 600e3}, Ladder{paused, stills, full(0), full(1)}},
		{"BitrateWithSound", simulcast, Limits{Bitrate: 560e3}, Ladder{paused, stills, full(0)}},
		{"Layers", simulcast, Limits{Layers: 2}, Ladder{paused, stills, full(0), full(1)}},
		{"TheLowestIsAlwaysAllowed", simulcast, Limits{Height: 90, Bitrate: 1}, Ladder{paused, stills, full(0)}},
		{"LowestDoesNotCome", []Layer{{}, simulcast[1]}, Limits{}, Ladder{
			paused, {Mode: Keyframes, Layer: 1, Cost: sound + keyframesPart*540e3}, {Mode: Full, Layer: 1, Cost: sound + 540e3},
		}},
		{"Temporal", thinned, Limits{}, Ladder{
			paused,
			{Mode: Keyframes, Cost: sound + keyframesPart*1000e3},
			{Mode: Partial, Temporal: 0, Cost: sound + 400e3},
			{Mode: Partial, Temporal: 1, Cost: sound + 600e3},
			{Mode: Full, Cost: sound + 1000e3},
			{Mode: Full, Layer: 1, Cost: sound + 2000e3},
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			require.Equal(t, test.want, Build(Ladder{{Layer: 7}}, test.layers, sound, test.limits))
		})
	}
}

func TestBuildAllocatesNothing(t *testing.T) {
	ladder := Build(nil, simulcast, sound, Limits{})
	require.Zero(t, testing.AllocsPerRun(10, func() { ladder = Build(ladder, simulcast, sound, Limits{}) }))
}

func TestLadder(t *testing.T) {
	l := Build(nil, simulcast, sound, Limits{})
	require.Equal(t, 2, l.Lowest())
	require.Equal(t, 0, l.Fitting(0), "there is always sound")
	require.Equal(t, 2, l.Fitting(210e3))
	require.Equal(t, 3, l.Fitting(1600e3))
	require.Equal(t, 4, l.Fitting(1e9))
	for i, r := range l {
		r.Cost = 7 // costs change, what is shown does not
		require.Equal(t, i, l.Find(r))
	}
	require.Equal(t, 4, l.Find(Rung{Mode: Full, Layer: 3}), "the next lower")
	require.Equal(t, 2, l.Find(Rung{Mode: Partial, Layer: 1}), "the next lower")
	require.Equal(t, 0, Ladder{{Layer: -1}}.Lowest())
}

func TestReasons(t *testing.T) {
	seen := map[string]bool{}
	for r := Stay; r <= Limited; r++ {
		require.NotEmpty(t, r.String())
		require.False(t, seen[r.String()])
		seen[r.String()] = true
	}
}

func TestMeter(t *testing.T) {
	var m Meter
	require.Zero(t, m.Bitrate(time.Hour))
	at := time.Hour
	send := func(d time.Duration, size int) {
		for end := at + d; at < end; at += 20 * time.Millisecond {
			m.Add(at, size)
		}
	}
	send(3*time.Second, 1000) // 400 kbit/s
	require.InDelta(t, 400e3, m.Bitrate(at), 10e3)
	m.Add(at, 20_000) // a keyframe
	send(time.Second, 1000)
	require.InDelta(t, 560e3, m.Bitrate(at), 10e3)
	send(3*time.Second, 500)
	require.InDelta(t, 560e3, m.Bitrate(at), 10e3, "it counts for five seconds")
	send(3*time.Second, 500)
	require.InDelta(t, 200e3, m.Bitrate(at), 10e3)
	require.Zero(t, m.Bitrate(at+10*time.Second), "nothing comes anymore")
	require.Zero(t, m.Bitrate(at+time.Hour))
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
		m.Add(at, all[len(all)-1].size)
		slot := at / meterSlot
		var want int
		for end := slot - 40; end <= slot; end++ { // the seconds that count for sure
			sum := 0
			for _, p := range all {
				if s := p.at / meterSlot; s > end-second && s <= end {
					sum += p.size
				}
			}
			want = max(want, sum)
		}
		require.GreaterOrEqual(t, m.Bitrate(at), float64(8*want))
	}
}

func BenchmarkMeter(b *testing.B) {
	var m Meter
	for i := 0; b.Loop(); i++ {
		m.Add(time.Duration(i)*3*time.Millisecond, 1200)
	}
}
