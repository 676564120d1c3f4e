package socket

import (
	"encoding/binary"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// A Message is what a [Sender] sends to one destination.
type Message struct {
	To    netip.AddrPort
	Bytes []byte
	// Segment, if not 0, is the length of the datagrams that the system cuts Bytes into;
	// the last may be shorter (UDP_SEGMENT).
	Segment int
}

// A Sender sends many messages with one call. One goroutine at a time uses it. It does
// not allocate.
type Sender struct {
	raw      syscall.RawConn
	out      mmsgs
	controls [][]byte // each message's segment size

	// of the call
	n    int // messages to send, and then those that went
	err  error
	call func(fd uintptr)
}

// NewSender returns a Sender that sends by raw, of either family, up to so many messages
// with one call.
func NewSender(raw syscall.RawConn, messages int) *Sender {
	s := &Sender{raw: raw, out: newMMsgs(messages), controls: make([][]byte, messages)}
	for i := range s.controls {
		s.controls[i] = newSegmentControl()
	}
	s.call = func(fd uintptr) {
		n, errno := mmsg(unix.SYS_SENDMMSG, fd, s.out.headers[:s.n])
		if s.n = n; errno != 0 {
			s.err = errno
		}
	}
	return s
}

// Send sends messages in order, without waiting, and returns how many went. If it returns
// an error, none did.
func (s *Sender) Send(all []Message) (int, error) {
	for i := range all {
		s.set(i, &all[i])
	}
	s.n, s.err = len(all), nil
	if err := s.raw.Control(s.call); err != nil {
		return 0, err
	}
	return s.n, s.err
}

func (s *Sender) set(i int, m *Message) {
	s.out.headers[i].Namelen = s.out.names[i].put(m.To)
	s.out.setBuffer(i, m.Bytes)
	if m.Segment == 0 {
		s.out.setControl(i, nil)
		return
	}
	setSegmentSize(s.controls[i], m.Segment)
	s.out.setControl(i, s.controls[i])
}

// newSegmentControl returns a UDP_SEGMENT control message.
func newSegmentControl() []byte {
	b := make([]byte, unix.CmsgSpace(2))
	header := b[:unix.SizeofCmsghdr]
	if native := binary.NativeEndian; len(header) == 16 {
		native.PutUint64(header, uint64(unix.CmsgLen(2)))
	} else {
		native.PutUint32(header, uint32(unix.CmsgLen(2)))
	}
	kind := header[len(header)-8:]
	binary.NativeEndian.PutUint32(kind, unix.IPPROTO_UDP)
	binary.NativeEndian.PutUint32(kind[4:], unix.UDP_SEGMENT)
	return b
}

func setSegmentSize(control []byte, bytes int) {
	binary.NativeEndian.PutUint16(control[unix.CmsgLen(0):], uint16(bytes))
}
