// Package seqnum extends RTP's 16-bit sequence numbers and 32-bit timestamps
// to 64 bits, correct under reordering, and closes the gaps that removed
// packets leave.
package seqnum

// A Seq unwraps 16-bit sequence numbers (RFC 3550 section A.1). The zero value
// is ready: the first number starts one cycle above zero, so that packets which
// were overtaken by the first still have a number of their own.
// It is not safe for concurrent use.
type Seq struct {
	started bool
	highest uint64
}

// Unwrap returns the extended number of v: the one nearest to the highest seen.
func (s *Seq) Unwrap(v uint16) uint64 {
	if !s.started {
		s.started = true
		s.highest = 1<<16 | uint64(v)
		return s.highest
	}
	ext := NearSeq(s.highest, v)
	s.highest = max(s.highest, ext)
	return ext
}

// restart returns a number for v that is at least a cycle above all that were
// seen, and goes on from there.
func (s *Seq) restart(v uint16) uint64 {
	s.highest = (s.highest>>16+2)<<16 | uint64(v)
	return s.highest
}

// Highest returns the highest number seen; 0 before the first.
func (s *Seq) Highest() uint64 { return s.highest }

// NearSeq returns the number congruent to v modulo 2^16 that is nearest to ref.
func NearSeq(ref uint64, v uint16) uint64 { return ref + uint64(int64(int16(v-uint16(ref)))) }

// A Time unwraps 32-bit timestamps in the way of [Seq].
type Time struct {
	started bool
	latest  uint64
}

// Unwrap returns the extended timestamp of v: the one nearest to the last.
func (t *Time) Unwrap(v uint32) uint64 {
	if !t.started {
		t.started = true
		t.latest = 1<<32 | uint64(v)
		return t.latest
	}
	t.latest = NearTime(t.latest, v)
	return t.latest
}

// NearTime returns the timestamp congruent to v modulo 2^32 that is nearest to ref.
func NearTime(ref uint64, v uint32) uint64 { return ref + uint64(int64(int32(v-uint32(ref)))) }
