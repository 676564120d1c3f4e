package socket

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// A Conn is a UDP socket of the system's that a [Socket] can take out of the hands of
// Go's poller. Whoever has the Conn can still close it then, and read and write by
// the methods of [net.PacketConn], one goroutine at a time; those that it has from
// [net.UDPConn] fail.
type Conn struct {
	*net.UDPConn // closed when the socket was taken

	taken atomic.Pointer[kernel] // nil: it was not

	mu     sync.Mutex
	closed bool
}

// Listen opens a socket of the system's.
func Listen(addr netip.AddrPort) (*Conn, error) {
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(addr))
	if err != nil {
		return nil, err
	}
	return &Conn{UDPConn: conn}, nil
}

// take takes the socket out of the poller's hands. It returns nil where that is not
// possible.
func (c *Conn) take() (*kernel, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, net.ErrClosed
	}
	k, err := newKernel(c.UDPConn)
	if k != nil {
		c.taken.Store(k)
	}
	return k, err
}

// ReadFrom implements [net.PacketConn].
func (c *Conn) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := c.ReadFromAddrPort(b)
	if err != nil {
		return n, nil, err
	}
	return n, net.UDPAddrFromAddrPort(from), nil
}

// ReadFromAddrPort is ReadFrom without an allocation.
func (c *Conn) ReadFromAddrPort(b []byte) (int, netip.AddrPort, error) {
	if k := c.taken.Load(); k != nil {
		return k.readOne(b)
	}
	return c.ReadFromUDPAddrPort(b)
}

// WriteTo implements [net.PacketConn].
func (c *Conn) WriteTo(b []byte, addr net.Addr) (int, error) {
	to, ok := addr.(*net.UDPAddr)
	if !ok {
		return 0, &net.AddrError{Err: "no UDP address", Addr: addr.String()}
	}
	return c.WriteToAddrPort(b, to.AddrPort())
}

// WriteToAddrPort is WriteTo without an allocation.
func (c *Conn) WriteToAddrPort(b []byte, to netip.AddrPort) (int, error) {
	if k := c.taken.Load(); k != nil {
		return k.WriteToAddrPort(b, to)
	}
	return c.WriteToUDPAddrPort(b, to)
}

// SetReadDeadline implements [net.PacketConn].
func (c *Conn) SetReadDeadline(t time.Time) error {
	if k := c.taken.Load(); k != nil {
		return k.setReadDeadline(t)
	}
	return c.UDPConn.SetReadDeadline(t)
}

// SetDeadline is SetReadDeadline once the socket was taken, since no write waits then.
func (c *Conn) SetDeadline(t time.Time) error {
	if k := c.taken.Load(); k != nil {
		return k.setReadDeadline(t)
	}
	return c.UDPConn.SetDeadline(t)
}

// SetWriteDeadline does nothing once the socket was taken, since no write waits then.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	if c.taken.Load() != nil {
		return nil
	}
	return c.UDPConn.SetWriteDeadline(t)
}

// Close ends all reads, and frees the port.
func (c *Conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	c.closed = true
	if k := c.taken.Load(); k != nil {
		return k.close()
	}
	return c.UDPConn.Close()
}
