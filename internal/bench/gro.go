package main

import (
	"encoding/binary"
	"net"
	"net/netip"
	"time"

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
	at   time.Time // when it came, as the system says; zero: it does not
}

const (
	udpGRO     = 104 // UDP_GRO, which only Linux has
	maxMessage = 1 << 16
)

// newMessages reads from a socket. With gro, messages come whole, and with stamps the
// system says when each came.
func newMessages(conn *net.UDPConn, gro, stamps bool) (*messages, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	var refused error
	if err := raw.Control(func(fd uintptr) {
		if gro {
			refused = unix.SetsockoptInt(int(fd), unix.IPPROTO_UDP, udpGRO, 1)
		}
		if stamps && refused == nil {
			refused = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)
		}
	}); err != nil {
		return nil, err
	}
	return &messages{
		conn: conn, buf: make([]byte, maxMessage), oob: make([]byte, unix.CmsgSpace(4)+unix.CmsgSpace(stampSize)),
	}, refused
}

const stampSize = 16 // of a timespec where longs have 64 bits; elsewhere there are no times

// next returns a packet, which is valid until the next call.
func (m *messages) next() ([]byte, netip.AddrPort, error) {
	if len(m.rest) == 0 {
		n, oobn, _, from, err := m.conn.ReadMsgUDPAddrPort(m.buf, m.oob)
		if err != nil {
			return nil, from, err
		}
		m.rest, m.from, m.size, m.at = m.buf[:n], from, n, time.Time{}
		m.control(m.oob[:oobn])
	}
	n := min(m.size, len(m.rest))
	packet := m.rest[:n]
	m.rest = m.rest[n:]
	return packet, m.from, nil
}

// control reads what the system says of a message: the size of its packets, if there are
// several, and when it came.
func (m *messages) control(oob []byte) {
	for len(oob) > 0 {
		h, data, rest, err := unix.ParseOneSocketControlMessage(oob)
		if err != nil {
			return
		}
		switch {
		case h.Level == unix.IPPROTO_UDP && h.Type == udpGRO && len(data) >= 4:
			m.size = int(binary.NativeEndian.Uint32(data))
		case h.Level == unix.SOL_SOCKET && h.Type == unix.SCM_TIMESTAMPNS && len(data) >= stampSize:
			m.at = time.Unix(int64(binary.NativeEndian.Uint64(data)), int64(binary.NativeEndian.Uint64(data[8:])))
		}
		oob = rest
	}
}
