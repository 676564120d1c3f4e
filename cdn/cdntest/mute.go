package cdntest

import (
	"net"
	"net/netip"
	"sync/atomic"

	"github.com/pion/transport/v5"
)

// A muteNet is a network whose sockets can be made to send nothing any more, so
// that a client can be closed as if its machine had lost power.
type muteNet struct {
	transport.Net

	muted atomic.Bool
}

func (n *muteNet) ListenUDP(network string, local *net.UDPAddr) (transport.UDPConn, error) {
	c, err := n.Net.ListenUDP(network, local)
	if err != nil {
		return nil, err
	}
	m := muteConn{UDPConn: c, muted: &n.muted}
	if direct, ok := c.(*udpConn); ok {
		return &muteHostConn{muteConn: m, conn: direct}, nil
	}
	return &m, nil
}

// A muteConn swallows what is written while it is muted. ICE agents write with
// WriteTo alone, or with a muteHostConn's WriteToAddrPort.
type muteConn struct {
	transport.UDPConn

	muted *atomic.Bool
}

// A muteHostConn is a muteConn of a [Host]'s, by which agents read and write without
// an allocation.
type muteHostConn struct {
	muteConn

	conn *udpConn
}

func (c *muteHostConn) ReadFromAddrPort(b []byte) (int, netip.AddrPort, error) {
	return c.conn.ReadFromAddrPort(b)
}

func (c *muteHostConn) WriteToAddrPort(p []byte, to netip.AddrPort) (int, error) {
	if c.muted.Load() {
		return len(p), nil
	}
	return c.conn.WriteToAddrPort(p, to)
}

func (c *muteConn) WriteTo(p []byte, to net.Addr) (int, error) {
	if c.muted.Load() {
		return len(p), nil
	}
	return c.UDPConn.WriteTo(p, to)
}
