package cdntest

import (
	"net"
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
	return &muteConn{UDPConn: c, muted: &n.muted}, nil
}

// A muteConn swallows what is written while it is muted. ICE agents write with
// WriteTo alone.
type muteConn struct {
	transport.UDPConn

	muted *atomic.Bool
}

func (c *muteConn) WriteTo(p []byte, to net.Addr) (int, error) {
	if c.muted.Load() {
		return len(p), nil
	}
	return c.UDPConn.WriteTo(p, to)
}
