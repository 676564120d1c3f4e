package seldom

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var begin = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// lines returns when lines are due about something that is wrong at each step.
func lines(p *Pacer[string], from time.Time, span, step time.Duration) (at []time.Duration) {
	for now := from; now.Before(from.Add(span)); now = now.Add(step) {
		if _, due := p.Wrong(now, "k"); due {
			at = append(at, now.Sub(from))
		}
	}
	return at
}

func TestFewerAndFewer(t *testing.T) {
	p := &Pacer[string]{}
	const m = time.Minute
	require.Equal(t, []time.Duration{0, 5 * m, 15 * m, 35 * m, 75 * m, 135 * m, 195 * m}, lines(p, begin, 4*time.Hour, time.Second))
	trouble, due := p.Well(begin.Add(4*time.Hour), "k")
	require.True(t, due)
	require.Equal(t, Trouble{For: 4 * time.Hour, Times: 4 * 3600}, trouble)
	_, due = p.Well(begin.Add(4*time.Hour), "k")
	require.False(t, due, "told twice")

	// A day later it is a new trouble.
	require.Equal(t, []time.Duration{0, 5 * m}, lines(p, begin.Add(28*time.Hour), 6*m, time.Second))
}

// What goes wrong and right every second is not told every second.
func TestFlapping(t *testing.T) {
	p := &Pacer[string]{}
	var wrong, well int
	for now := begin; now.Before(begin.Add(time.Hour)); now = now.Add(time.Second) {
		if _, due := p.Wrong(now, "k"); due {
			wrong++
		}
		if _, due := p.Well(now.Add(time.Second/2), "k"); due {
			well++
		}
	}
	require.Equal(t, 4, wrong)
	require.Equal(t, 4, well, "one for each line about the trouble")
}

// What may pass is told when it lasts.
func TestPatience(t *testing.T) {
	p := &Pacer[string]{}
	wrong := func(at time.Duration) bool {
		_, due := p.WrongFor(begin.Add(at), "k", 2*time.Second)
		return due
	}
	require.False(t, wrong(0))
	require.False(t, wrong(time.Second))
	_, due := p.Well(begin.Add(time.Second), "k")
	require.False(t, due, "there was no line")
	require.False(t, wrong(3*time.Second))
	require.False(t, wrong(time.Hour), "seldom, and each time it may pass")
	require.False(t, wrong(2*time.Hour))
	require.False(t, wrong(2*time.Hour+time.Second))
	require.True(t, wrong(2*time.Hour+2*time.Second))
	_, due = p.Well(begin.Add(3*time.Hour), "k")
	require.True(t, due)
}

func TestKeysAreApart(t *testing.T) {
	p := &Pacer[[2]string]{}
	for _, k := range [][2]string{{"a", "1"}, {"a", "2"}, {"b", "1"}} {
		_, due := p.Wrong(begin, k)
		require.True(t, due)
	}
	_, due := p.Wrong(begin.Add(time.Second), [2]string{"c", "1"})
	require.True(t, due)
	trouble, due := p.WellAll(begin.Add(time.Minute), func(k [2]string) bool { return k[1] == "1" })
	require.True(t, due)
	require.Equal(t, time.Minute, trouble.For)
	_, due = p.Well(begin.Add(time.Minute), [2]string{"a", "2"})
	require.True(t, due, "it did not fit")
}

// Names that somebody makes up fill neither the memory nor the log, for ever.
func TestBounded(t *testing.T) {
	p := &Pacer[int]{}
	due := 0
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 100_000 {
		if _, ok := p.Wrong(begin.Add(time.Duration(i)*time.Millisecond), random.IntN(1<<40)); ok {
			due++
		}
	}
	require.LessOrEqual(t, len(p.all), maxKeys)
	require.LessOrEqual(t, due, maxKeys+1)
	_, ok := p.Wrong(begin.Add(3*time.Hour), -1)
	require.True(t, ok)
	require.Len(t, p.all, 1, "what was not seen for long is forgotten")
}
