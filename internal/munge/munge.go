// Package munge gives one receiver's packets their numbers. A receiver sees
// one sequence without gaps, though it is sent now one layer and now another,
// and nothing at all while it is paused.
package munge

// history is how many runs are remembered for NACKs.
const history = 8

// A Munger maps the numbers of layers to those of one receiver. A run is a
// stretch of one layer that is sent without interruption; S tells layers
// apart. The zero value is ready for Start. It is not safe for concurrent use.
type Munger[S comparable] struct {
	runs    [history]run[S]
	n       int // runs started
	highest uint64
	ts      uint64 // of the newest packet sent
}

type run[S comparable] struct {
	source S
	from   uint64 // first source number of the run
	out    uint64 // the number that it is sent as
	ts     uint64 // added to timestamps, modulo 2^64
}

// Start begins a run of source at its packet seq, which is sent with timestamp
// as. The very first number is below 2^15, as RFC 3711 section 3.3.1 wants it:
// were the 16 bits to wrap while a receiver has got nothing yet, it would never
// learn of the rollover.
func (m *Munger[S]) Start(source S, seq, ts, as uint64) {
	r := run[S]{source: source, from: seq, out: m.highest + 1, ts: as - ts}
	if m.n == 0 {
		r.out = 1<<16 | seq&0x7fff
	}
	m.runs[m.n%history] = r
	m.n++
}

// Map returns the numbers with which the run's packet is sent. It is false for
// a packet from before the run.
func (m *Munger[S]) Map(seq, ts uint64) (outSeq, outTS uint64, ok bool) {
	if m.n == 0 {
		return 0, 0, false
	}
	r := &m.runs[(m.n-1)%history]
	if seq < r.from {
		return 0, 0, false
	}
	outSeq, outTS = r.out+(seq-r.from), ts+r.ts
	if outSeq > m.highest {
		m.highest, m.ts = outSeq, outTS
	}
	return outSeq, outTS, true
}

// Last returns the highest number sent and the timestamp sent with it.
func (m *Munger[S]) Last() (seq, ts uint64) { return m.highest, m.ts }

// Shift returns what is added to the timestamps of the run.
func (m *Munger[S]) Shift() uint64 {
	if m.n == 0 {
		return 0
	}
	return m.runs[(m.n-1)%history].ts
}

// Source returns which packet was sent as number out, and what is added to its
// timestamp; false if nothing was, or too long ago.
func (m *Munger[S]) Source(out uint64) (source S, seq, shift uint64, ok bool) {
	if out > m.highest {
		return source, 0, 0, false
	}
	for i := m.n - 1; i >= 0 && i >= m.n-history; i-- {
		r := &m.runs[i%history]
		if out >= r.out {
			return r.source, r.from + (out - r.out), r.ts, true
		}
	}
	return source, 0, 0, false
}
