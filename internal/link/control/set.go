package control

import (
	"encoding/binary"
	"math/bits"
)

// window is how far ahead of the first part that is not acknowledged parts may
// be: so many later ones pass by one that is lost again and again.
const window = 1024

// A set is which numbers have been seen: all below next, and those of the window
// from there on that ahead has. It does not grow, whatever is added.
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

// shift moves the window on by n, which is from 1 to 64.
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

func (s *set) marshal() (b []byte) {
	b = binary.AppendUvarint(b, s.next)
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
