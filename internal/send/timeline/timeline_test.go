package timeline

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	frame = 3000
	rate  = uint64(Fastest / Live)
)

// What is sent to catch up gets timestamps that advance more slowly, and then as the
// source's again.
func TestAccelerateAndResume(t *testing.T) {
	var l Timeline
	source := l.Start(5*frame, 5*frame)
	l.Accelerate(5*frame, Fastest)
	for n := uint64(0); n <= 40; n++ {
		require.Equal(t, 5*frame+n*frame/rate, l.At((5+n)*frame))
	}
	l.Resume(45 * frame)
	for n := uint64(0); n <= 10; n++ {
		require.Equal(t, 5*frame+40*frame/rate+n*frame, l.At((45+n)*frame))
	}
	require.Equal(t, l.At(50*frame), 50*frame+l.Offset())
	l.Start(105*frame, 70*frame)
	require.Equal(t, uint64(35*frame), -l.Offset(), "another source knows nothing of it")
	for ts, want := range map[uint64]uint64{4 * frame: 4 * frame, 25 * frame: 10 * frame, 46 * frame: 16 * frame} {
		as, ok := l.Sent(source, ts)
		require.True(t, ok)
		require.Equal(t, want, as)
	}
}

// A receiver may catch up as often as it has to: what was sent stays as it was, for
// repairs and for what comes late.
func TestAccelerateAgain(t *testing.T) {
	var l Timeline
	source := l.Start(0, 0)
	sent := map[uint64]uint64{}
	for n := uint64(0); n < 60; n++ {
		switch n % 20 {
		case 1:
			l.Accelerate((n-1)*frame, Fastest)
		case 11:
			l.Resume((n - 1) * frame)
		}
		sent[n*frame] = l.At(n * frame)
	}
	require.Equal(t, 3*10*frame/rate+29*frame, sent[59*frame])
	for ts, as := range sent {
		require.Equal(t, as, l.At(ts))
		again, ok := l.Sent(source, ts)
		require.True(t, ok)
		require.Equal(t, as, again)
	}
}

// What begins early comes to the offset that it is to have, to the tick.
func TestConverge(t *testing.T) {
	for _, speed := range []Speed{Live + 1, 2 * Live, 2*Live + 3, Fastest, 2 * Fastest} {
		for _, early := range []uint64{1, 2, 3, 4, 5, 6, 7, 100, 3001, 90_000, 1 << 20} {
			var l Timeline
			const from, offset = 1_000_000, 1<<64 - 700_000
			start := from + early
			start += offset
			l.Start(from, start)
			until := l.Converge(offset, speed)
			require.InDelta(t, float64(early)*float64(speed)/float64(speed-Live), float64(until-from), 1)
			require.Equal(t, uint64(offset), l.Offset())
			require.Equal(t, start, l.At(from))
			require.Equal(t, until+offset, l.At(until))
			require.Equal(t, until+offset+90_000, l.At(until+90_000))
			require.GreaterOrEqual(t, l.At(until), l.At(until-1))
			require.Equal(t, start+(until-from)/2*uint64(Live)/uint64(speed), l.At(from+(until-from)/2))
		}
	}
	var l Timeline
	l.Start(500, 400)
	later := uint64(100)
	require.Equal(t, uint64(500), l.Converge(-later, Fastest), "it is there")
	require.Equal(t, -later, l.Offset())
}

// Timestamps go on elsewhere from one of them on; what comes late of before that has
// what it would have had, and is never later than what came after it.
func TestRebase(t *testing.T) {
	var l Timeline
	source := l.Start(1000, 5000)
	l.Rebase(9000, 6000)
	for ts, want := range map[uint64]uint64{9000: 6000, 9100: 6100, 1100: 5100, 2500: 6000, 900: 4900} {
		require.Equal(t, want, l.At(ts))
		as, ok := l.Sent(source, ts)
		require.True(t, ok)
		require.Equal(t, want, as)
	}
	require.Equal(t, uint64(3000), -l.Offset())
	// What was planned and not reached is forgotten.
	l.Start(0, 10_000)
	until := l.Converge(0, Fastest)
	l.Rebase(until/2, 20_000)
	require.Equal(t, 20_000+until, l.At(until/2+until))
}

func TestOldSegmentsAreForgotten(t *testing.T) {
	var l Timeline
	first := l.Start(0, 0)
	for i := range uint64(kept) {
		l.Start(i, i)
		_, ok := l.Sent(first, 0)
		require.True(t, ok)
	}
	l.Start(1, 1)
	_, ok := l.Sent(first, 0)
	require.False(t, ok)
	// Of a source that has gone on for too long, only the end is known.
	source := l.Start(0, 0)
	for i := range uint64(kept) {
		l.Accelerate(2*i*frame, Fastest)
		l.Resume((2*i + 1) * frame)
	}
	_, ok = l.Sent(source, 0)
	require.False(t, ok)
	as, ok := l.Sent(source, (2*kept-2)*frame)
	require.True(t, ok)
	require.Equal(t, l.At((2*kept-2)*frame), as)
}

func TestTheZeroTimeline(t *testing.T) {
	var l Timeline
	require.Equal(t, uint64(7), l.At(7))
	require.Zero(t, l.Offset())
	_, ok := l.Sent(0, 7)
	require.False(t, ok)
}

func TestNothingIsAllocated(t *testing.T) {
	var l Timeline
	l.Start(0, 0)
	n := uint64(0)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		n += frame
		l.Accelerate(n, Fastest)
		n += frame
		l.Resume(n)
		l.Sent(l.Start(n, n), n)
	}))
}

// FuzzTimeline sends whatever may come in any order, with accelerations and jumps of the
// source's timestamps. What was sent stays, and no source goes back.
func FuzzTimeline(f *testing.F) {
	for seed := range uint64(20) {
		f.Add(seed, []byte{0, 1, 2, 3, 4, 5, 6, 7})
		f.Add(seed, []byte{1, 6, 6, 2, 6, 6, 6, 5, 6, 7, 3, 6, 7, 6, 0, 6, 4, 6, 6, 3, 7, 6})
	}
	f.Fuzz(func(t *testing.T, seed uint64, does []byte) {
		w := newWalk(seed)
		for _, b := range does[:min(len(does), 200)] {
			w.step(b % 8)
		}
		w.check(t)
	})
}

// A walk sends a random source by a Timeline, and records each timestamp that it sent.
type walk struct {
	Timeline
	rng    *rand.Rand
	source uint32
	newest uint64 // timestamp of the source that was sent
	last   uint64 // and the latest as which one was
	sent   map[uint64]uint64
	just   bool // started
}

func newWalk(seed uint64) *walk {
	w := &walk{rng: rand.New(rand.NewPCG(seed, 1))}
	w.newest, w.last = w.rng.Uint64(), w.rng.Uint64()
	w.start()
	return w
}

func (w *walk) start() {
	ts := w.rng.Uint64() // another layer, or the same after a jump
	w.source, w.newest, w.sent = w.Start(ts, w.last+1), ts, map[uint64]uint64{}
	w.send(ts)
	w.just = true
}

// speed returns one above Live.
func (w *walk) speed() Speed { return Live + 1 + Speed(w.rng.IntN(int(2*Fastest))) }

func (w *walk) send(ts uint64) {
	as := w.At(ts)
	w.sent[ts], w.just = as, false
	if int64(ts-w.newest) > 0 {
		w.newest = ts
	}
	if int64(as-w.last) > 0 {
		w.last = as
	}
}

func (w *walk) step(what byte) {
	switch what {
	case 0:
		w.start()
	case 1:
		w.Accelerate(w.newest, w.speed())
	case 2:
		w.Resume(w.newest)
	case 3: // as after a hole: what follows is ahead of its time, or late
		ts := w.newest + 1 + uint64(w.rng.IntN(1<<w.rng.IntN(40)))
		w.Rebase(ts, w.last+1+uint64(w.rng.IntN(1<<w.rng.IntN(20))))
		w.send(ts)
	case 4:
		if w.just {
			w.just = false
			w.Converge(w.Offset()-uint64(w.rng.IntN(1<<w.rng.IntN(24))), w.speed())
		}
	case 5: // a jump of the source that nobody has noticed
		w.send(w.newest + uint64(w.rng.IntN(1<<w.rng.IntN(45))))
	case 6:
		w.send(w.newest + uint64(w.rng.IntN(2*frame)))
	case 7: // late
		w.send(w.newest - uint64(w.rng.IntN(20*frame)))
	}
}

func (w *walk) check(t *testing.T) {
	for ts, as := range w.sent {
		again, ok := w.Sent(w.source, ts)
		if !ok {
			continue // it is forgotten, and was perhaps when it came
		}
		if again != as {
			t.Fatalf("%d was sent as %d, and is %d now", ts, as, again)
		}
		for other, as2 := range w.sent {
			if _, ok := w.Sent(w.source, other); ok && int64(other-ts) > 0 && int64(as2-as) < 0 {
				t.Fatalf("%d is later than %d, and was sent as %d and %d", other, ts, as2, as)
			}
		}
	}
}
