package control

import (
	"encoding/binary"
	"errors"
	"math/bits"
)

// A datagram begins with the number of this framing; frames follow, each with
// its type and length, so that unknown types can be passed over.
const format = 0xd1

// maxDatagram is the longest datagram made, in bytes: with DTLS, UDP and IPv6
// headers it passes where WebRTC's media does.
const maxDatagram = 1100

type frameType byte

const (
	framePart frameType = iota + 1 // of a message
	frameAck                       // of parts
	framePing                      // asks for a pong
	framePong
	frameClose
)

var errFrame = errors.New("control: malformed datagram")

// frames calls f with each frame of a datagram, after it has been seen that all
// of them are whole.
func frames(datagram []byte, f func(frameType, []byte) error) error {
	if len(datagram) == 0 || datagram[0] != format {
		return errFrame
	}
	check := func(frameType, []byte) error { return nil }
	for _, do := range []func(frameType, []byte) error{check, f} {
		for rest := datagram[1:]; len(rest) > 0; {
			t := frameType(rest[0])
			n, used := binary.Uvarint(rest[1:])
			if used <= 0 || n > uint64(len(rest)-1-used) {
				return errFrame
			}
			if err := do(t, rest[1+used:1+used+int(n)]); err != nil {
				return err
			}
			rest = rest[1+used+int(n):]
		}
	}
	return nil
}

func appendFrame(b []byte, t frameType, body []byte) []byte {
	b = append(b, byte(t))
	b = binary.AppendUvarint(b, uint64(len(body)))
	return append(b, body...)
}

// A part is a message or a piece of one, and what is acknowledged. Its sequence
// number is one more than that of the part before.
type part struct {
	seq   uint64
	index uint64 // in the message
	count uint64 // parts of the message
	data  []byte
}

const (
	maxPart  = maxDatagram - 64
	maxParts = window / 2 // of a message
)

func (p part) marshal() []byte {
	b := binary.AppendUvarint(nil, p.seq)
	b = binary.AppendUvarint(b, p.index)
	b = binary.AppendUvarint(b, p.count)
	return append(b, p.data...)
}

func parsePart(b []byte) (p part, err error) {
	for _, v := range []*uint64{&p.seq, &p.index, &p.count} {
		x, n := binary.Uvarint(b)
		if n <= 0 {
			return p, errFrame
		}
		*v, b = x, b[n:]
	}
	if p.count == 0 || p.count > maxParts || p.index >= p.count || p.seq < p.index || len(b) > maxPart {
		return p, errFrame
	}
	p.data = b
	return p, nil
}

// window is how far ahead of what is acknowledged without a gap parts may be.
const window = 256

// A set is which numbers have been seen: all below next, and those of the window
// from there on that ahead has.
type set struct {
	next  uint64
	ahead [window / 64]uint64
}

// add reports whether n is new, and within the window.
func (s *set) add(n uint64) bool {
	if n < s.next || n-s.next >= window || s.has(n) {
		return false
	}
	at := n - s.next
	s.ahead[at/64] |= 1 << (at % 64)
	for s.ahead[0]&1 != 0 {
		s.shift(bits.TrailingZeros64(^s.ahead[0]))
	}
	return true
}

func (s *set) has(n uint64) bool {
	if n < s.next {
		return true
	}
	at := n - s.next
	return at < window && s.ahead[at/64]&(1<<(at%64)) != 0
}

func (s *set) shift(n int) {
	s.next += uint64(n)
	for i := range s.ahead {
		v := uint64(0)
		if n < 64 {
			v = s.ahead[i] >> n
		}
		if i+1 < len(s.ahead) {
			v |= s.ahead[i+1] << (64 - n)
		}
		s.ahead[i] = v
	}
}

func (s *set) marshal() []byte {
	b := binary.AppendUvarint(nil, s.next)
	last := len(s.ahead)
	for last > 0 && s.ahead[last-1] == 0 {
		last--
	}
	for _, v := range s.ahead[:last] {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	return b
}

func parseSet(b []byte) (s set, err error) {
	next, n := binary.Uvarint(b)
	if n <= 0 || (len(b)-n)%8 != 0 || (len(b)-n)/8 > len(s.ahead) {
		return s, errFrame
	}
	s.next = next
	for i := 0; n < len(b); i, n = i+1, n+8 {
		s.ahead[i] = binary.BigEndian.Uint64(b[n:])
	}
	return s, nil
}
