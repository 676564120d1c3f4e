// Package transportcc writes transport-wide feedback: when each packet of a sender arrived
// (draft-holmer-rmcat-transport-wide-cc-extensions-01). From that the sender estimates what
// the path carries.
package transportcc

import (
	"encoding/binary"
	"time"
)

const (
	// tick is the unit of arrival times, and reference that of a message's first one, in
	// ticks.
	tick      = 250 * time.Microsecond
	reference = 256
	// kept is how many numbers are kept, reported or not, so that what arrives out of
	// order can be reported again with what came after it. It is a power of two.
	kept = 1024
	// full is how many numbers may wait to be reported.
	full = kept / 2
	// mostStatuses bounds a message, so that it stays below the MTU: each status takes
	// two bits and two bytes at most.
	mostStatuses = 480
	// resetAfter is how many packets in a row have to be too late for a new numbering: the
	// sender was reset.
	resetAfter = 16
)

// A Recorder notes when packets arrive, and writes what was not reported yet. It is not safe
// for concurrent use. Once made it does not allocate.
type Recorder struct {
	sender  uint32
	media   uint32 // of the newest packet
	count   uint8  // of messages
	begun   bool
	pending bool
	// first is the lowest number to report, next the one after the highest that arrived.
	first, next uint64
	tooLate     int          // packets in a row
	newest      int64        // arrival of the packet recorded last, in ticks
	arrivals    [kept]uint32 // by number; 0: it has not arrived. See stamp
}

// New returns a Recorder whose messages are from the SSRC sender.
func New(sender uint32) *Recorder { return &Recorder{sender: sender} }

// Record notes that the packet with a transport-wide sequence number, of the SSRC media,
// arrived at a time since an epoch that the caller chooses. It reports whether so many wait
// that they should be reported now.
func (r *Recorder) Record(media uint32, seq uint16, at time.Duration) (due bool) {
	r.newest = int64((at + tick/2) / tick)
	if !r.begun {
		r.begun = true
		r.first = 1<<32 | uint64(seq) // so that numbers may go back
		r.next = r.first
	}
	n := r.near(seq)
	if n < r.next && r.next-n > kept {
		if r.tooLate++; r.tooLate < resetAfter {
			return false
		}
		r.restart(seq)
		n = r.near(seq)
	}
	r.tooLate = 0
	switch {
	case n >= r.next:
		r.skipTo(n)
	case r.arrivals[n%kept] != 0:
		return false // twice
	}
	r.arrivals[n%kept], r.media, r.pending = stamp(r.newest), media, true
	r.first = min(r.first, n)
	return r.next-r.first >= full
}

// near returns the number nearest to the next that ends in seq.
func (r *Recorder) near(seq uint16) uint64 {
	return r.next + uint64(int64(int16(seq-uint16(r.next))))
}

// restart begins a new numbering.
func (r *Recorder) restart(seq uint16) {
	const cycle = 1 << 16
	r.next = (r.next/cycle+2)*cycle + uint64(seq)
	r.first, r.arrivals = r.next, [kept]uint32{}
}

// skipTo makes n the highest number. Those below it have not arrived.
func (r *Recorder) skipTo(n uint64) {
	if n-r.next >= kept {
		r.arrivals = [kept]uint32{}
	} else {
		for ; r.next < n; r.next++ {
			r.arrivals[r.next%kept] = 0
		}
	}
	r.next = n + 1
	if r.next-r.first > kept {
		r.first = r.next - kept
	}
}

// stamp returns an arrival as it is kept: its lower 32 bits, of which one value is none.
func stamp(ticks int64) uint32 { return max(uint32(ticks), 1) }

// arrival returns a kept arrival in ticks.
func (r *Recorder) arrival(n uint64) (ticks int64, ok bool) {
	kept := r.arrivals[n%kept]
	return r.newest - int64(int32(uint32(r.newest)-kept)), kept != 0
}

// Pending reports whether packets have arrived since the last report.
func (r *Recorder) Pending() bool { return r.pending }

// Append appends messages about all packets since the last ones to dst, each an RTCP packet.
func (r *Recorder) Append(dst []byte) []byte {
	for r.pending && r.first < r.next {
		r.skipLost()
		dst = r.message(dst)
	}
	r.pending = false
	return dst
}

// skipLost leaves out the oldest of many numbers that have not arrived, so that a message has
// one that has.
func (r *Recorder) skipLost() {
	const most = mostStatuses / 2
	n := r.first
	for n < r.next-1 && r.arrivals[n%kept] == 0 {
		n++
	}
	if n-r.first > most {
		r.first = n - most
	}
}

// message appends one, and moves on to the first number that it does not cover.
func (r *Recorder) message(dst []byte) []byte {
	const transportFeedback, format, padding = 205, 15, 1 << 5
	var m message
	m.cover(r)
	at := len(dst)
	dst = append(dst, 2<<6|format, transportFeedback, 0, 0)
	dst = binary.BigEndian.AppendUint32(dst, r.sender)
	dst = binary.BigEndian.AppendUint32(dst, r.media)
	dst = binary.BigEndian.AppendUint16(dst, uint16(r.first))
	dst = binary.BigEndian.AppendUint16(dst, uint16(m.n))
	dst = binary.BigEndian.AppendUint32(dst, uint32(m.base/reference)<<8|uint32(r.count))
	dst = m.appendChunks(dst)
	dst = m.appendDeltas(dst)
	if short := -(len(dst) - at) & 3; short != 0 {
		dst[at] |= padding
		for range short - 1 {
			dst = append(dst, 0)
		}
		dst = append(dst, byte(short))
	}
	binary.BigEndian.PutUint16(dst[at+2:], uint16((len(dst)-at)/4-1))
	r.count++
	r.first += uint64(m.n)
	return dst
}

// A message is what one says: the status of each of n numbers, and of those that arrived how
// long after the one before.
type message struct {
	n        int
	base     int64 // the reference time, in ticks
	last     int64 // arrival of the last packet, in ticks
	statuses [mostStatuses]uint8
	deltas   [mostStatuses]int16
}

// The statuses of a packet.
const (
	lost  = 0
	small = 1 // it arrived, and the delta has one byte
	large = 2 // and two
)

// cover takes as many numbers as one message can have.
func (m *message) cover(r *Recorder) {
	begun := false
	for n := r.first; n < r.next && m.n < mostStatuses; n++ {
		at, ok := r.arrival(n)
		if !ok {
			m.n++
			continue
		}
		if !begun {
			begun = true
			m.base = floor(at)
			m.last = m.base
		}
		delta := at - m.last
		if delta != int64(int16(delta)) {
			return
		}
		m.last = at
		m.deltas[m.n] = int16(delta)
		if m.statuses[m.n] = small; delta < 0 || delta > 255 {
			m.statuses[m.n] = large
		}
		m.n++
	}
}

// floor returns the reference time ahead of an arrival.
func floor(ticks int64) int64 { return ticks &^ (reference - 1) }

const (
	mostRun = 1<<13 - 1
	oneBit  = 14 // statuses of a chunk
	twoBits = 7
)

// appendChunks writes the statuses, in the chunks that take least: a run of equal ones, or
// a vector of them with a bit or two each.
func (m *message) appendChunks(dst []byte) []byte {
	for rest := m.statuses[:m.n]; len(rest) > 0; {
		run, simple := 1, 0
		for run < len(rest) && rest[run] == rest[0] {
			run++
		}
		for simple < min(len(rest), oneBit) && rest[simple] != large {
			simple++
		}
		var chunk uint16
		var taken int
		switch {
		case run == len(rest) || run > oneBit || run > twoBits && simple < oneBit:
			taken = min(run, mostRun)
			chunk = uint16(rest[0])<<13 | uint16(taken)
		case simple == min(len(rest), oneBit):
			taken, chunk = simple, vector(rest[:simple], oneBit, 1)
		default:
			taken = min(len(rest), twoBits)
			chunk = 1<<14 | vector(rest[:taken], twoBits, 2)
		}
		dst = binary.BigEndian.AppendUint16(dst, chunk)
		rest = rest[taken:]
	}
	return dst
}

// vector is a chunk of statuses with so many bits each.
func vector(statuses []uint8, room, bits int) uint16 {
	chunk := uint16(1 << 15)
	for i, s := range statuses {
		chunk |= uint16(s) << (bits * (room - 1 - i))
	}
	return chunk
}

func (m *message) appendDeltas(dst []byte) []byte {
	for i, s := range m.statuses[:m.n] {
		switch s {
		case small:
			dst = append(dst, byte(m.deltas[i]))
		case large:
			dst = binary.BigEndian.AppendUint16(dst, uint16(m.deltas[i]))
		}
	}
	return dst
}
