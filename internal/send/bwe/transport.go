package bwe

import (
	"encoding/binary"
	"errors"
	"time"
)

// Transport-wide feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01
// section 3.1): after the header of an RTCP feedback message (RFC 4585 section 6.1)
//
//	base sequence number (16 bits) | packet status count (16)
//	reference time (24)            | feedback packet count (8)
//	packet chunks (16 each) ... | receive deltas (8 or 16 each) ...
const (
	rtcpHeader     = 12
	fixedPart      = 8
	chunkLen       = 2
	feedbackType   = 205 // transport layer feedback
	feedbackFormat = 15

	arrivalUnit   = 250 * time.Microsecond
	referenceUnit = 64 * time.Millisecond
)

var errMalformed = errors.New("bwe: malformed transport-wide feedback")

// The symbols of a packet's status.
const (
	notReceived = iota
	smallDelta
	largeDelta // may be negative
	reserved
)

// A reader reads feedback. It unwraps reference times from one message to the next.
type reader struct {
	known     bool
	reference int64 // of the last message, unwrapped, in units of 64 ms
}

// read calls f for each packet that has arrived, in the order of their numbers,
// with its time of arrival on the receiver's clock. p is one RTCP packet, without
// others of its compound. It returns the first of the packets that p is about, and
// their number. Nothing is reported of a malformed packet.
func (r *reader) read(p []byte, f func(seq uint16, arrival time.Duration)) (base uint16, about int, err error) {
	if p, err = body(p); err != nil {
		return 0, 0, err
	}
	base, about = binary.BigEndian.Uint16(p), int(binary.BigEndian.Uint16(p[2:]))
	count, chunks := about, p[fixedPart:]
	deltas, err := split(chunks, count)
	if err != nil {
		return 0, 0, err
	}
	at := time.Duration(r.unwrap(binary.BigEndian.Uint32(p[4:])>>8)) * referenceUnit
	for seq := base; count > 0; chunks = chunks[chunkLen:] {
		c := chunk(binary.BigEndian.Uint16(chunks))
		n := min(c.length(), count)
		if c.symbol(0) == notReceived && c.run() {
			seq, count = seq+uint16(n), count-n
			continue
		}
		for i := range n {
			switch c.symbol(i) {
			case smallDelta:
				at += time.Duration(deltas[0]) * arrivalUnit
				deltas = deltas[1:]
				f(seq, at)
			case largeDelta:
				at += time.Duration(int16(binary.BigEndian.Uint16(deltas))) * arrivalUnit
				deltas = deltas[2:]
				f(seq, at)
			}
			seq++
		}
		count -= n
	}
	return base, about, nil
}

// body returns what follows the header of a feedback message, without padding.
func body(p []byte) ([]byte, error) {
	if len(p) < rtcpHeader+fixedPart || p[0]>>6 != 2 || p[0]&31 != feedbackFormat || p[1] != feedbackType {
		return nil, errMalformed
	}
	length := 4 * (1 + int(binary.BigEndian.Uint16(p[2:])))
	if length > len(p) || length < rtcpHeader+fixedPart {
		return nil, errMalformed
	}
	body := p[rtcpHeader:length]
	if padded := p[0]&0x20 != 0; padded {
		pad := int(body[len(body)-1])
		if pad == 0 || pad > len(body)-fixedPart {
			return nil, errMalformed
		}
		body = body[:len(body)-pad]
	}
	return body, nil
}

// split returns the deltas behind the chunks of count packets, and checks that none
// is missing.
func split(chunks []byte, count int) (deltas []byte, err error) {
	need := 0
	for count > 0 {
		if len(chunks) < chunkLen {
			return nil, errMalformed
		}
		c := chunk(binary.BigEndian.Uint16(chunks))
		chunks = chunks[chunkLen:]
		n := min(c.length(), count)
		bytes := c.deltas(n)
		if bytes < 0 {
			return nil, errMalformed
		}
		need, count = need+bytes, count-n
	}
	if len(chunks) < need {
		return nil, errMalformed
	}
	return chunks, nil
}

// unwrap extends a reference time of 24 bits by the last one.
func (r *reader) unwrap(reference uint32) int64 {
	const wrap = 1 << 24
	if !r.known {
		r.known, r.reference = true, int64(reference)
		return r.reference
	}
	step := int64(reference) - r.reference%wrap
	if r.reference%wrap < 0 {
		step -= wrap
	}
	switch {
	case step > wrap/2:
		step -= wrap
	case step < -wrap/2:
		step += wrap
	}
	r.reference += step
	return r.reference
}

// A chunk is the status of several packets: a run of one symbol (section 3.1.3), or
// a vector of 14 symbols of one bit or 7 of two bits (section 3.1.4).
type chunk uint16

func (c chunk) run() bool { return c>>15 == 0 }

func (c chunk) length() int {
	switch {
	case c.run():
		return int(c & 0x1fff)
	case c>>14&1 == 0:
		return 14
	}
	return 7
}

func (c chunk) symbol(i int) int {
	switch {
	case c.run():
		return int(c >> 13 & 3)
	case c>>14&1 == 0:
		return int(c >> (13 - i) & 1)
	}
	return int(c >> (12 - 2*i) & 3)
}

// deltas returns the size of the deltas of the first n packets, -1 if a symbol is
// reserved.
func (c chunk) deltas(n int) int {
	if c.run() {
		if c.symbol(0) == reserved {
			return -1
		}
		return n * c.symbol(0)
	}
	bytes := 0
	for i := range n {
		s := c.symbol(i)
		if s == reserved {
			return -1
		}
		bytes += s // a small delta has one byte, a large one two
	}
	return bytes
}
