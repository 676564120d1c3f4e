package icetcp

import (
	"encoding/binary"
	"errors"
	"io"
)

const (
	// headerLen is the length of the length ahead of each packet (RFC 4571 section 2).
	headerLen = 2
	// maxPacket is how long a packet may be. Nobody sends longer ones: they have to
	// fit a datagram where the same client has UDP.
	maxPacket = 8192
	// readBuffer is how much is read at once, at most.
	readBuffer = 16 << 10
)

// errTooLong says that the other side does not frame packets as RFC 4571 says, or
// sends packets that nobody takes.
var errTooLong = errors.New("icetcp: a packet of more than 8192 bytes")

// A splitter takes the packets out of a stream of bytes.
type splitter struct {
	from       io.Reader
	buf        [readBuffer]byte
	start, end int // of what was read and not returned
}

// read waits until a packet has come, and appends to all the packets that have come
// with it. They are good until the next call. Empty packets, which keep connections
// open, are left out.
func (s *splitter) read(all [][]byte) ([][]byte, error) {
	for {
		var err error
		if all, err = s.split(all); err != nil || len(all) > 0 {
			return all, err
		}
		if s.start > 0 {
			s.end = copy(s.buf[:], s.buf[s.start:s.end])
			s.start = 0
		}
		n, err := s.from.Read(s.buf[s.end:])
		s.end += n
		if n == 0 && err != nil {
			return all, err
		}
	}
}

// split appends the packets that are complete.
func (s *splitter) split(all [][]byte) ([][]byte, error) {
	for s.end-s.start >= headerLen {
		n := int(binary.BigEndian.Uint16(s.buf[s.start:]))
		if n > maxPacket {
			return all, errTooLong
		}
		next := s.start + headerLen + n
		if next > s.end {
			break
		}
		if n > 0 {
			all = append(all, s.buf[s.start+headerLen:next:next])
		}
		s.start = next
	}
	return all, nil
}
