package munge

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// first is what is added to the numbers of the first run.
const first = 1 << 16

func TestTheFirstRunKeepsItsOrder(t *testing.T) {
	var m Munger[string]
	_, _, ok := m.Map(5, 5)
	require.False(t, ok, "nothing was started")
	m.Start("h", 1000, 90, 90)
	for _, seq := range []uint64{1000, 1002, 1001} {
		out, ts, ok := m.Map(seq, 90)
		require.True(t, ok)
		require.Equal(t, first+seq, out)
		require.Equal(t, uint64(90), ts)
	}
	_, _, ok = m.Map(999, 90)
	require.False(t, ok, "from before the run")
}

func TestRunsContinueOneAnother(t *testing.T) {
	var m Munger[string]
	m.Start("h", 1000, 10, 10)
	m.Map(1000, 10)
	m.Map(1001, 10)

	m.Start("l", 77, 500, 3010) // another layer, other numbers
	out, ts, ok := m.Map(77, 500)
	require.True(t, ok)
	require.Equal(t, []uint64{first + 1002, 3010}, []uint64{out, ts})
	out, ts, _ = m.Map(79, 3500) // 78 is lost on the way: its number stays free
	require.Equal(t, []uint64{first + 1004, 6010}, []uint64{out, ts})

	m.Start("l", 300, 9000, 9000+m.Shift()) // after a pause
	out, ts, _ = m.Map(300, 9000)
	require.Equal(t, []uint64{first + 1005, 11510}, []uint64{out, ts})
	last, lastTS := m.Last()
	require.Equal(t, []uint64{first + 1005, 11510}, []uint64{last, lastTS})

	for out, want := range map[uint64]struct {
		source string
		seq    uint64
	}{first + 1000: {"h", 1000}, first + 1001: {"h", 1001}, first + 1003: {"l", 78}, first + 1004: {"l", 79}, first + 1005: {"l", 300}} {
		sent, ok := m.Source(out)
		require.True(t, ok)
		require.Equal(t, want.source, sent.Source, "number %d", out)
		require.Equal(t, want.seq, sent.Seq, "number %d", out)
	}
	_, ok = m.Source(first + 1006)
	require.False(t, ok, "not sent yet")
	_, ok = m.Source(first + 999)
	require.False(t, ok, "before all runs")
}

func TestOldRunsAreForgotten(t *testing.T) {
	var m Munger[int]
	for i := range history + 2 {
		m.Start(i, uint64(i*1000), 0, 0)
		m.Map(uint64(i*1000), 0)
	}
	_, ok := m.Source(0)
	require.False(t, ok)
	last, _ := m.Last()
	sent, ok := m.Source(last)
	require.True(t, ok)
	require.Equal(t, history+1, sent.Source)
}

// The 16 bits do not wrap while a receiver may have got nothing yet.
func TestTheFirstNumberIsFarFromTheWrap(t *testing.T) {
	for _, seq := range []uint64{0, 1, 1<<15 - 1, 1 << 15, 1<<16 - 1, 1 << 16, 5<<16 - 3} {
		var m Munger[int]
		m.Start(1, seq, 0, 0)
		out, _, _ := m.Map(seq, 0)
		require.Less(t, uint16(out), uint16(1<<15))
		back, ok := m.Source(out)
		require.True(t, ok)
		require.Equal(t, seq, back.Seq)
	}
}

// What is sent to catch up gets timestamps that advance slower, then the
// source's own again, and repairs get the same.
func TestHurry(t *testing.T) {
	var m Munger[string]
	const frame = 3000
	m.Start("h", 100, 5*frame, 5*frame)
	m.Map(100, 5*frame)
	m.Hurry(101, 5*frame)
	sent := map[uint64]uint64{} // number, timestamp
	last := uint64(0)
	send := func(seq uint64) uint64 {
		out, ts, ok := m.Map(seq, (seq-95)*frame)
		require.True(t, ok)
		require.Greater(t, ts, last)
		sent[out], last = ts, ts
		return ts
	}
	for seq := uint64(101); seq <= 140; seq++ {
		require.Equal(t, 5*frame+(seq-100)*frame/Speed, send(seq))
	}
	m.Steady(45 * frame)
	for seq := uint64(141); seq <= 150; seq++ {
		require.Equal(t, 5*frame+40*frame/Speed+(seq-140)*frame, send(seq))
		require.Equal(t, last, (seq-95)*frame+m.Shift())
	}
	m.Start("h", 200, 105*frame, last+frame)
	m.Map(200, 105*frame)
	require.Equal(t, last+frame-105*frame, m.Shift(), "another run knows nothing of it")
	m.Hurry(200, 105*frame)
	m.Steady(105 * frame)
	m.Hurry(201, 106*frame) // nothing was sent in haste
	m.Start("h", 300, 205*frame, last+2*frame)
	for out, ts := range sent {
		from, ok := m.Source(out)
		require.True(t, ok)
		require.Equal(t, ts, m.Timestamp(from, (from.Seq-95)*frame), "number %d", out)
	}
}

// A run may hurry as often as it has to: what was sent stays as it was, for
// repairs and for what comes late.
func TestHurryAgain(t *testing.T) {
	var m Munger[string]
	const frame = 3000
	m.Start("h", 100, 0, 0)
	sent := map[uint64]uint64{} // number, timestamp
	play := func(from, to uint64) (ts uint64) {
		for seq := from; seq < to; seq++ {
			out, as, ok := m.Map(seq, (seq-100)*frame)
			require.True(t, ok)
			require.Equal(t, first+seq, out)
			sent[out], ts = as, as
		}
		return ts
	}
	play(100, 101)
	for begin := uint64(101); begin < 141; begin += 20 {
		before := sent[first+begin-1]
		m.Hurry(begin, (begin-101)*frame)
		require.Equal(t, before+10*frame/Speed, play(begin, begin+10))
		m.Steady((begin - 91) * frame)
		require.Equal(t, before+10*frame/Speed+10*frame, play(begin+11, begin+20)) // one is late
	}
	for _, seq := range []uint64{111, 131} {
		out, ts, ok := m.Map(seq, (seq-100)*frame)
		require.True(t, ok)
		require.Equal(t, []uint64{first + seq, sent[out-1] + frame}, []uint64{out, ts})
	}
	for out, ts := range sent {
		from, ok := m.Source(out)
		require.True(t, ok)
		require.Equal(t, out-first, from.Seq)
		require.Equal(t, ts, m.Timestamp(from, (from.Seq-100)*frame), "number %d", out)
	}
	_, _, ok := m.Map(99, 0)
	require.False(t, ok, "from before the run")
}

// What begins early comes to the shift that it is to have, to the tick.
func TestSettle(t *testing.T) {
	for _, early := range []uint64{1, 2, 3, 4, 5, 6, 7, 100, 3001, 90_000, 1 << 20} {
		var m Munger[string]
		const from, shift = 1_000_000, 1<<64 - 700_000
		start := from + early
		start += shift
		m.Start("h", 100, from, start)
		steady := m.Settle(from, shift)
		require.InDelta(t, float64(early)*Speed/(Speed-1), float64(steady-from), 1)
		require.Equal(t, uint64(shift), m.Shift())
		require.Equal(t, start, m.Present(from))
		require.Equal(t, steady+shift, m.Present(steady))
		require.Equal(t, steady+shift+90_000, m.Present(steady+90_000))
		require.GreaterOrEqual(t, m.Present(steady), m.Present(steady-1))
		require.Equal(t, start+(steady-from)/2/Speed, m.Present(from+(steady-from)/2))
	}
	var m Munger[string]
	m.Start("h", 100, 500, 400)
	later := uint64(100)
	require.Equal(t, uint64(500), m.Settle(500, -later), "it is there")
	require.Equal(t, -later, m.Shift())
}

// Timestamps go on elsewhere from a packet on, numbers as before; what comes late
// of before, or is asked for again, has what it would have had.
func TestLeap(t *testing.T) {
	var m Munger[string]
	m.Start("h", 100, 1000, 5000)
	first, _, _ := m.Map(100, 1000)
	m.Leap(103, 9000, 6000)
	for _, p := range []struct{ seq, ts, out, as uint64 }{
		{103, 9000, first + 3, 6000}, {104, 9100, first + 4, 6100}, {101, 1100, first + 1, 5100}, {102, 1100, first + 2, 5100},
	} {
		out, as, ok := m.Map(p.seq, p.ts)
		require.True(t, ok)
		require.Equal(t, p.out, out)
		require.Equal(t, p.as, as)
		from, ok := m.Source(out)
		require.True(t, ok)
		require.Equal(t, p.seq, from.Seq)
		require.Equal(t, as, m.Timestamp(from, p.ts))
	}
	require.Equal(t, uint64(3000), -m.Shift())
}
