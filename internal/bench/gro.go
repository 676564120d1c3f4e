package main

import (
	"encoding/binary"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// messages are read from a socket whole, as they were sent by UDP_SEGMENT, and
// given on packet by packet. That makes who receives much cheaper, and over
// loopback also who sends, as the system need not cut them: figures with it do
// not compare with those without.
type messages struct {
	conn *net.UDPConn
	buf  []byte
	oob  []byte
	rest []byte // of the message
	size int    // of its packets
	from netip.AddrPort
}

const (
	udpGRO     = 104 // UDP_GRO, which only Linux has
	maxMessage = 1 << 16
)

func newMessages(conn *net.UDPConn) (*messages, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	var refused error
	if err := raw.Control(func(fd uintptr) {
		refused = unix.SetsockoptInt(int(fd), unix.IPPROTO_UDP, udpGRO, 1)
	}); err != nil {
		return nil, err
	}
	return &messages{conn: conn, buf: make([]byte, maxMessage), oob: make([]byte, unix.CmsgSpace(4))}, refused
}

// next returns a packet, which is valid until the next call.
func (m *messages) next() ([]byte, netip.AddrPort, error) {
	if len(m.rest) == 0 {
		n, oobn, _, from, err := m.conn.ReadMsgUDPAddrPort(m.buf, m.oob)
		if err != nil {
			return nil, from, err
		}
		m.rest, m.from, m.size = m.buf[:n], from, n
		if size := segment(m.oob[:oobn]); size > 0 {
			m.size = size
		}
	}
	n := min(m.size, len(m.rest))
	packet := m.rest[:n]
	m.rest = m.rest[n:]
	return packet, m.from, nil
}

// segment returns the size of a message's packets; 0 if it is but one.
func segment(oob []byte) int {
	for len(oob) > 0 {
		h, data, rest, err := unix.ParseOneSocketControlMessage(oob)
		if err != nil {
			return 0
		}
		if h.Level == unix.IPPROTO_UDP && h.Type == udpGRO && len(data) >= 4 {
			return int(binary.NativeEndian.Uint32(data))
		}
		oob = rest
	}
	return 0
}
