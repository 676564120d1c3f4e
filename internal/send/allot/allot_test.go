package allot

import (
	"testing"

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
		{"LargeKeyframe", []Layer{{Bitrate: 1000e3, Keyframe: 350e3}}, Limits{}, Ladder{
			paused, {Mode: Keyframes, Cost: sound + 500e3}, {Mode: Full, Cost: sound + 1000e3},
		}},
		{"HugeKeyframe", []Layer{{Bitrate: 1000e3, Keyframe: 900e3}}, Limits{}, Ladder{
			paused, {Mode: Keyframes, Cost: sound + 1000e3}, {Mode: Full, Cost: sound + 1000e3},
		}},
		{"KeyframeAboveAPart", []Layer{{Bitrate: 1000e3, Keyframe: 350e3, Temporal: []float64{400e3, 1000e3}}}, Limits{}, Ladder{
			paused, {Mode: Keyframes, Cost: sound + 400e3}, {Mode: Partial, Cost: sound + 400e3}, {Mode: Full, Cost: sound + 1000e3},
		}},
		{"TemporalWithoutFrames", []Layer{{Bitrate: 1000e3, Temporal: []float64{0, 400e3, 400e3, 1000e3}}}, Limits{}, Ladder{
			paused,
			{Mode: Keyframes, Cost: sound + keyframesPart*1000e3},
			{Mode: Partial, Temporal: 1, Cost: sound + 400e3},
			{Mode: Full, Cost: sound + 1000e3},
		}},
		{"NothingIsKnownOfTemporal", []Layer{{Bitrate: 1000e3, Temporal: []float64{1000e3, 1000e3}}}, Limits{}, Ladder{
			paused,
			{Mode: Keyframes, Cost: sound + keyframesPart*1000e3},
			{Mode: Partial, Cost: sound + 1000e3},
			{Mode: Full, Cost: sound + 1000e3},
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
	require.Equal(t, 0, Ladder{{Layer: -1}}.lowestWhole())
	require.Equal(t, 1, l[:2].Lowest(), "a still image is the most there is")
	require.Equal(t, 1, l[:2].lowestWhole())
}

func TestReasons(t *testing.T) {
	seen := map[string]bool{}
	for r := Stay; r <= Limited; r++ {
		require.NotEmpty(t, r.String())
		require.False(t, seen[r.String()])
		seen[r.String()] = true
	}
}
