// Package fec repairs RTP packets by forward error correction: ULPFEC (RFC 5109), and
// FlexFEC in its last form (RFC 8627) and in the draft that libwebrtc sends. A [Parity] is
// what a packet of correction says, and a [Window] holds the packets of one stream that it
// is about. It has no clock, and its memory is bounded.
package fec

import (
	"encoding/binary"
	"errors"
	"math/bits"
)

// A Format is one of packets of correction.
type Format uint8

// The formats.
const (
	ULP    Format = iota // RFC 5109; what levels above 0 protect is not read
	Flex03               // draft-ietf-payload-flexible-fec-scheme-03
	Flex                 // RFC 8627
)

// A Parity is the exclusive or of some packets of one stream.
type Parity struct {
	// SSRC is that of the packets, as far as the payload says it: FlexFEC of the draft,
	// and retransmissions, do.
	SSRC uint32
	base uint16
	mask mask     // of distances from base
	head [8]byte  // of what headers say, as in [Source]
	body []byte   // the repair of what stands behind the first 12 bytes of the packets
	most [2]uint8 // the lowest and the highest distance
}

// ErrMalformed says that a payload is not as its format wants it, or is about several
// streams.
var ErrMalformed = errors.New("fec: malformed payload")

// Read reads the payload of a packet of correction. Its memory is the payload's.
func Read(f Format, payload []byte) (p Parity, err error) {
	ok := false
	switch {
	case len(payload) < fixedHeader:
	case f == ULP:
		ok = p.readULP(payload)
	case f == Flex03:
		ok = p.readFlex03(payload)
	case f == Flex && payload[0]>>6 == 2: // R = 1, F = 0
		ok = p.readAgain(payload)
	case f == Flex && payload[0]>>7 == 0:
		copy(p.head[:], payload[:8])
		ok = p.readFlex(payload[8:], payload[0]>>6 == 1, true)
	}
	if !ok || p.mask == (mask{}) {
		return Parity{}, ErrMalformed
	}
	p.head[0] &= 0x3f
	p.most = p.mask.bounds()
	return p, nil
}

// readULP reads RFC 5109 sections 7.3 and 7.4.
func (p *Parity) readULP(b []byte) (ok bool) {
	const header, level, long = 10, 4, 8
	size := level
	if b[0]&0x40 != 0 {
		size = long
	}
	if b[0]&0x80 != 0 || len(b) < header+size {
		return false
	}
	p.base = binary.BigEndian.Uint16(b[2:])
	p.head = [8]byte{b[0], b[1], b[8], b[9], b[4], b[5], b[6], b[7]}
	protected := int(binary.BigEndian.Uint16(b[header:]))
	p.mask.set(0, b[header+2:header+size], 0)
	b = b[header+size:]
	if protected > len(b) {
		return false
	}
	p.body = b[:protected]
	return true
}

// readFlex03 reads section 4.2 of the draft.
func (p *Parity) readFlex03(b []byte) (ok bool) {
	const sources, ssrc, rest = 8, 12, 16
	if b[0]&0x80 != 0 || len(b) < rest || b[sources] != 1 {
		return false
	}
	copy(p.head[:], b[:8])
	p.SSRC = binary.BigEndian.Uint32(b[ssrc:])
	return p.readFlex(b[rest:], b[0]&0x40 != 0, false)
}

// readFlex reads the base of numbers, the mask and what follows. more is the value of the
// bits that say that the mask continues.
func (p *Parity) readFlex(b []byte, fixed, more bool) (ok bool) {
	if len(b) < 4 {
		return false
	}
	p.base = binary.BigEndian.Uint16(b)
	if fixed {
		p.body = b[4:]
		return p.mask.grid(int(b[2]), int(b[3]))
	}
	p.mask.set(0, b[2:4], 1)
	continues := func(first byte) bool { return first>>7 == 1 == more }
	if !continues(b[2]) {
		p.body = b[4:]
		return true
	}
	if len(b) < 8 {
		return false
	}
	p.mask.set(15, b[4:8], 1)
	if !continues(b[4]) {
		p.body = b[8:]
		return true
	}
	if len(b) < 16 {
		return false
	}
	p.body = b[16:]
	if more { // RFC 8627 has 64 bits here, and the draft one less
		p.mask.set(46, b[8:16], 0)
		return true
	}
	p.mask.set(46, b[8:16], 1)
	return !continues(b[8])
}

// readAgain reads a packet that is sent again (RFC 8627 section 4.2.2.3), which is the
// parity of itself.
func (p *Parity) readAgain(b []byte) (ok bool) {
	p.base = binary.BigEndian.Uint16(b[2:])
	p.SSRC = binary.BigEndian.Uint32(b[8:])
	p.body = b[fixedHeader:]
	p.head = head(b, b[1]&0x7f, len(p.body))
	p.mask.add(0)
	return true
}

// fixedHeader is the size of an RTP header without sources and extensions, in bytes.
const fixedHeader = 12

// head returns of a header what parities have in front: the flags, the payload type, the
// size of all that follows, and the timestamp.
func head(header []byte, payloadType uint8, size int) (h [8]byte) {
	h[0], h[1] = header[0]&0x3f, header[1]&0x80|payloadType
	binary.BigEndian.PutUint16(h[2:], uint16(size))
	copy(h[4:], header[4:8])
	return h
}

// A mask is a set of numbers, by their distance from a base.
type mask [2]uint64

// maxDistance bounds the distances, in packets. Flexible masks reach to 109.
const maxDistance = 127

func (m *mask) add(distance int) { m[distance/64] |= 1 << (distance % 64) }

// set adds the distances of a mask's bytes, the most significant bit first, and leaves out
// the first bits of them.
func (m *mask) set(first int, b []byte, without int) {
	for i := without; i < 8*len(b); i++ {
		if b[i/8]&(0x80>>(i%8)) != 0 {
			m.add(first + i - without)
		}
	}
}

// grid adds those of a fixed mask: a row of columns, or, if there are several rows, a
// column. It is false if they are too many.
func (m *mask) grid(columns, rows int) (ok bool) {
	n, step := columns, 1
	if rows > 1 {
		n, step = rows, columns
	}
	if n == 0 || step == 0 || (n-1)*step > maxDistance {
		return false
	}
	for i := range n {
		m.add(i * step)
	}
	return true
}

// bounds returns the lowest and the highest distance.
func (m *mask) bounds() (b [2]uint8) {
	for i := len(m) - 1; i >= 0; i-- {
		if m[i] != 0 {
			b[0] = uint8(64*i + bits.TrailingZeros64(m[i]))
		}
	}
	for i, word := range m {
		if word != 0 {
			b[1] = uint8(64*i + 63 - bits.LeadingZeros64(word))
		}
	}
	return b
}

// all calls f with each distance, the lowest first, until it returns false.
func (m *mask) all(f func(distance uint64) bool) {
	for i, word := range m {
		for ; word != 0; word &= word - 1 {
			if !f(uint64(64*i + bits.TrailingZeros64(word))) {
				return
			}
		}
	}
}
