// Package bwetest writes transport-wide feedback
// (draft-holmer-rmcat-transport-wide-cc-extensions-01), as viewers send it, for tests.
package bwetest

import (
	"encoding/binary"
	"time"
)

// An Arrival is a packet that a viewer has received.
type Arrival struct {
	Number int           // transport-wide sequence number, extended over wraps
	At     time.Duration // on the viewer's clock
}

// Feedback returns an RTCP packet of transport-wide feedback on arrivals, which are in
// the order of their numbers and not empty, and on what is missing from the number
// first on. count is the number of the message.
func Feedback(count uint8, first int, arrivals []Arrival) []byte {
	const unit, reference = 250 * time.Microsecond, 64 * time.Millisecond
	earliest := arrivals[0].At
	for _, a := range arrivals {
		earliest = min(earliest, a.At)
	}
	base := earliest / reference
	total := arrivals[len(arrivals)-1].Number - first + 1
	p := make([]byte, 20, 20+total/7*2+2+2*len(arrivals)+8)
	p[0], p[1] = 0x80|15, 205
	binary.BigEndian.PutUint16(p[12:], uint16(first))
	binary.BigEndian.PutUint16(p[14:], uint16(total))
	binary.BigEndian.PutUint32(p[16:], uint32(base)<<8|uint32(count))
	symbols := make([]byte, (total+6)/7*7)
	var deltas []byte
	now := int64(base * reference / unit)
	for _, a := range arrivals {
		d := int64(a.At/unit) - now
		now += d
		if d >= 0 && d < 256 {
			symbols[a.Number-first] = 1
			deltas = append(deltas, byte(d))
		} else {
			symbols[a.Number-first] = 2
			deltas = binary.BigEndian.AppendUint16(deltas, uint16(int16(d)))
		}
	}
	for ; len(symbols) > 0; symbols = symbols[7:] {
		chunk := uint16(3) << 14
		for i, s := range symbols[:7] {
			chunk |= uint16(s) << (12 - 2*i)
		}
		p = binary.BigEndian.AppendUint16(p, chunk)
	}
	p = append(p, deltas...)
	for len(p)%4 != 0 {
		p = append(p, 0)
	}
	binary.BigEndian.PutUint16(p[2:], uint16(len(p)/4-1))
	return p
}
