package control

import (
	"encoding/binary"
	"errors"
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

// frames calls f with each frame of a datagram, if all of them are well formed:
// of one that is not, nothing is acted on.
func frames(datagram []byte, f func(frameType, []byte)) error {
	if len(datagram) == 0 || datagram[0] != format {
		return errFrame
	}
	for rest := datagram[1:]; len(rest) > 0; {
		t, body, after, err := cutFrame(rest)
		if err == nil {
			err = check(t, body)
		}
		if err != nil {
			return err
		}
		rest = after
	}
	for rest := datagram[1:]; len(rest) > 0; {
		t, body, after, _ := cutFrame(rest)
		f(t, body)
		rest = after
	}
	return nil
}

func cutFrame(b []byte) (t frameType, body, rest []byte, err error) {
	n, used := binary.Uvarint(b[1:])
	if used <= 0 || n > uint64(len(b)-1-used) {
		return 0, nil, nil, errFrame
	}
	body = b[1+used:]
	return frameType(b[0]), body[:n], body[n:], nil
}

// check reads the body of a frame. A reason that cannot be read is a goodbye all
// the same, and what is not known is not looked at.
func check(t frameType, body []byte) (err error) {
	switch t {
	case framePart:
		_, err = parsePart(body)
	case frameAck:
		_, err = parseSet(body)
	case framePing, framePong:
		_, err = parsePing(body)
	case frameClose:
	}
	return err
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
	maxPart    = maxDatagram - 64
	maxParts   = 64 // of a message
	maxMessage = maxParts * maxPart
	// partHeader is what a part's frame has besides data, at most: type, length,
	// sequence number, index, count.
	partHeader = 1 + 2 + 10 + 1 + 1
)

func (p part) marshal() (b []byte) {
	b = binary.AppendUvarint(b, p.seq)
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
	if p.count == 0 || p.count > maxParts || p.index >= p.count || p.seq < p.index || len(b) > maxDatagram {
		return p, errFrame
	}
	p.data = b
	return p, nil
}

// A ping asks for a pong with the same id, and tells the load of who asks.
type ping struct {
	id     uint64
	load   uint64 // in thousandths
	loaded bool   // load is told
}

func (p ping) marshal() (b []byte) {
	b = binary.AppendUvarint(b, p.id)
	if p.loaded {
		b = binary.AppendUvarint(b, p.load)
	}
	return b
}

// parsePing passes over what a later version may add.
func parsePing(b []byte) (p ping, err error) {
	id, n := binary.Uvarint(b)
	if n <= 0 {
		return p, errFrame
	}
	p.id = id
	if len(b) > n {
		if p.load, n = binary.Uvarint(b[n:]); n <= 0 {
			return p, errFrame
		}
		p.loaded = true
	}
	return p, nil
}
