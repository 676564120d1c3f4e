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
	n       int // runs started
	highest uint64
	ts      uint64 // of the newest packet sent
	runs    [history]run[S]
}

// Speed is how much faster time runs in what is sent to catch up.
const Speed = 4

type run[S comparable] struct {
	source S
	from   uint64 // first source number of the run
	out    uint64 // the number that it is sent as
	ts     uint64 // added to timestamps, modulo 2^64
	// Between these of the source's timestamps the run was in a hurry.
	hurried, steady uint64
	// bend: the run before this one goes on in it, with the same numbers.
	bend bool
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
	for i := m.n - 1; i >= 0 && i >= m.n-history; i-- {
		r := &m.runs[i%history]
		if seq >= r.from {
			outSeq, outTS = r.out+(seq-r.from), r.at(ts)
			if outSeq > m.highest {
				m.highest, m.ts = outSeq, outTS
			}
			return outSeq, outTS, true
		}
		if !r.bend {
			break
		}
	}
	return 0, 0, false
}

// Last returns the highest number sent and the timestamp sent with it.
func (m *Munger[S]) Last() (seq, ts uint64) { return m.highest, m.ts }

// Hurry has timestamps advance slower by [Speed] from the source's timestamp
// from on, until Steady or the next run: what is sent that much faster then is
// in time, as a receiver sees it. If the run was in a hurry before, the packets
// from seq on are; what was sent is not changed.
func (m *Munger[S]) Hurry(seq, from uint64) {
	r := m.runs[(m.n-1)%history]
	if r.hurried != r.steady {
		m.bendAt(seq, r.at(from)-from)
	}
	last := &m.runs[(m.n-1)%history]
	last.hurried, last.steady = from, from+1<<62
}

// Leap has the run's packets from seq on sent with the timestamps for which ts is
// sent as as. Their numbers go on, and what came before keeps its timestamps.
func (m *Munger[S]) Leap(seq, ts, as uint64) { m.bendAt(seq, as-ts) }

// bendAt has packets from seq on belong to a run of their own, that goes on with
// the last one's numbers.
func (m *Munger[S]) bendAt(seq, shift uint64) {
	r := m.runs[(m.n-1)%history]
	m.runs[m.n%history] = run[S]{source: r.source, from: seq, out: r.out + (seq - r.from), ts: shift, bend: true}
	m.n++
}

// Steady has timestamps advance as the source's again from its timestamp to on.
func (m *Munger[S]) Steady(to uint64) { m.runs[(m.n-1)%history].steady = to }

// Settle has the timestamps of a run that has just been started at from advance
// slower by [Speed] until shift is what is added to them, and as the source's
// from then on. It returns the source's timestamp at which that is so.
func (m *Munger[S]) Settle(from, shift uint64) (steady uint64) {
	r := &m.runs[(m.n-1)%history]
	early := r.ts - shift
	if int64(early) <= 0 {
		return from
	}
	r.hurried, r.steady = from, from+early+(early-1)/(Speed-1)
	return r.steady
}

// at returns the timestamp that is sent for the source's.
func (r *run[S]) at(ts uint64) uint64 {
	if r.hurried == r.steady || int64(ts-r.hurried) <= 0 {
		return ts + r.ts
	}
	fast := min(ts, r.steady) - r.hurried
	return ts - fast + fast/Speed + r.ts
}

// Present returns what is sent for the source's timestamp in the present run.
func (m *Munger[S]) Present(ts uint64) uint64 { return m.runs[(m.n-1)%history].at(ts) }

// Shift returns what is added to the timestamps of the run, and will be when it
// is in no hurry any more. Between Hurry and Steady nobody knows.
func (m *Munger[S]) Shift() uint64 {
	if m.n == 0 {
		return 0
	}
	r := &m.runs[(m.n-1)%history]
	return r.at(r.steady) - r.steady
}

// A Sent is where a number that was sent comes from.
type Sent[S comparable] struct {
	Source S
	Seq    uint64
	run    int
}

// Source returns which packet was sent as number out; false if none was, or too
// long ago.
func (m *Munger[S]) Source(out uint64) (Sent[S], bool) {
	if out > m.highest {
		return Sent[S]{}, false
	}
	for i := m.n - 1; i >= 0 && i >= m.n-history; i-- {
		r := &m.runs[i%history]
		if out >= r.out {
			return Sent[S]{Source: r.source, Seq: r.from + (out - r.out), run: i}, true
		}
	}
	return Sent[S]{}, false
}

// Timestamp returns what was sent for the timestamp ts of a packet.
func (m *Munger[S]) Timestamp(of Sent[S], ts uint64) uint64 {
	return m.runs[of.run%history].at(ts)
}
