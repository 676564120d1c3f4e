package cdntest

import (
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/pion/transport/v5"
)

// socketBuffer is how much a socket keeps for its reader, with overhead, until
// SetReadBuffer says otherwise.
const socketBuffer = 1 << 20

// packetOverhead is what a waiting packet costs beside its payload, so that
// small packets cannot pile up without end.
const packetOverhead = 256

// A udpConn is a socket of a [Host]. Writing never blocks.
type udpConn struct {
	// Static after listen.
	host   *Host
	local  netip.AddrPort
	remote netip.AddrPort // valid if the socket is connected

	mu       sync.Mutex
	changed  sync.Cond // there is more to read, or no reason to wait for it
	waiting  []*datagram
	read     int // of waiting
	bytes    int
	limit    int
	closed   bool
	deadline *time.Timer // nil: there is none
	expired  bool        // the deadline has passed
}

var _ transport.UDPConn = (*udpConn)(nil)

func newUDPConn(h *Host, remote *net.UDPAddr) *udpConn {
	c := &udpConn{host: h, limit: socketBuffer}
	c.changed.L = &c.mu
	if remote != nil {
		c.remote = unmap(remote.AddrPort())
	}
	return c
}

// accepts reports whether d is for c. Its fields are static by then.
func (c *udpConn) accepts(d *datagram) bool {
	if ip := c.local.Addr(); !ip.IsUnspecified() && ip != d.dst.Addr() {
		return false
	}
	return !c.remote.IsValid() || c.remote == d.src
}

// push leaves d for the reader, and reports whether there was room.
func (c *udpConn) push(d *datagram) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	size := len(d.data) + packetOverhead
	if c.bytes+size > c.limit {
		return false
	}
	c.bytes += size
	c.waiting = append(c.waiting, d)
	c.changed.Signal()
	return true
}

// popLocked returns the packet that waited longest, or nil.
func (c *udpConn) popLocked() *datagram {
	if c.read == len(c.waiting) {
		return nil
	}
	d := c.waiting[c.read]
	c.waiting[c.read] = nil
	c.read++
	c.bytes -= len(d.data) + packetOverhead
	switch {
	case c.read == len(c.waiting):
		c.waiting, c.read = c.waiting[:0], 0
	case c.read >= 64 && 2*c.read >= len(c.waiting): // a queue that is never empty does not grow for that
		rest := copy(c.waiting, c.waiting[c.read:])
		clear(c.waiting[rest:])
		c.waiting, c.read = c.waiting[:rest], 0
	}
	return d
}

// wait waits for a packet.
func (c *udpConn) wait() (*datagram, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		switch {
		case c.closed:
			return nil, opError("read", c.local, net.ErrClosed)
		case c.expired:
			return nil, opError("read", c.local, os.ErrDeadlineExceeded)
		}
		if d := c.popLocked(); d != nil {
			return d, nil
		}
		c.changed.Wait()
	}
}

// ReadFromAddrPort is ReadFrom without an allocation: nodes and ICE agents look for it.
func (c *udpConn) ReadFromAddrPort(b []byte) (int, netip.AddrPort, error) {
	d, err := c.wait()
	if err != nil {
		return 0, netip.AddrPort{}, err
	}
	n, from := copy(b, d.data), d.src
	d.free()
	return n, from, nil
}

func (c *udpConn) Read(b []byte) (int, error) {
	n, _, err := c.ReadFromAddrPort(b)
	return n, err
}

func (c *udpConn) ReadFrom(b []byte) (int, net.Addr, error) {
	n, addr, err := c.ReadFromUDP(b)
	if err != nil {
		return 0, nil, err // not a nil *net.UDPAddr in an interface
	}
	return n, addr, nil
}

func (c *udpConn) ReadFromUDP(b []byte) (int, *net.UDPAddr, error) {
	n, from, err := c.ReadFromAddrPort(b)
	if err != nil {
		return 0, nil, err
	}
	return n, net.UDPAddrFromAddrPort(from), nil
}

func (c *udpConn) ReadMsgUDP(b, _ []byte) (n, oobn, flags int, addr *net.UDPAddr, err error) {
	n, addr, err = c.ReadFromUDP(b)
	return n, 0, 0, addr, err
}

func (c *udpConn) Write(b []byte) (int, error) {
	if !c.remote.IsValid() {
		return 0, opError("write", c.local, &net.AddrError{Err: "missing address"})
	}
	return c.writeTo(b, c.remote)
}

func (c *udpConn) WriteTo(b []byte, addr net.Addr) (int, error) {
	to, ok := addr.(*net.UDPAddr)
	if !ok {
		return 0, opError("write", c.local, transport.ErrNotUDPAddress)
	}
	return c.WriteToUDP(b, to)
}

func (c *udpConn) WriteToUDP(b []byte, addr *net.UDPAddr) (int, error) {
	if addr == nil {
		return c.Write(b)
	}
	return c.WriteToAddrPort(b, addr.AddrPort())
}

// WriteToAddrPort is WriteTo without an allocation.
func (c *udpConn) WriteToAddrPort(b []byte, to netip.AddrPort) (int, error) {
	if c.remote.IsValid() {
		return 0, opError("write", c.local, net.ErrWriteToConnected)
	}
	return c.writeTo(b, unmap(to))
}

func (c *udpConn) WriteMsgUDP(b, _ []byte, addr *net.UDPAddr) (n, oobn int, err error) {
	n, err = c.WriteToUDP(b, addr)
	return n, 0, err
}

func (c *udpConn) writeTo(b []byte, dst netip.AddrPort) (int, error) {
	if c.isClosed() {
		return 0, opError("write", c.local, net.ErrClosed)
	}
	src := netip.AddrPortFrom(c.host.ip, c.local.Port())
	if dst.Addr().IsLoopback() {
		src = netip.AddrPortFrom(dst.Addr(), c.local.Port())
	}
	if err := c.host.network.send(c.host, src, dst, b); err != nil {
		return 0, opError("write", c.local, err)
	}
	return len(b), nil
}

func (c *udpConn) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

func (c *udpConn) Close() error {
	c.mu.Lock()
	was := c.closed
	c.closed = true
	c.setDeadlineLocked(time.Time{})
	c.mu.Unlock()
	if was {
		return opError("close", c.local, net.ErrClosed)
	}
	n := c.host.network
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(c.host.ports, c.local.Port())
	return nil
}

func (c *udpConn) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(c.local) }

func (c *udpConn) RemoteAddr() net.Addr {
	if !c.remote.IsValid() {
		return nil
	}
	return net.UDPAddrFromAddrPort(c.remote)
}

func (c *udpConn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

func (c *udpConn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return opError("set", c.local, net.ErrClosed)
	}
	c.setDeadlineLocked(t)
	return nil
}

func (c *udpConn) setDeadlineLocked(t time.Time) {
	if c.deadline != nil {
		c.deadline.Stop()
		c.deadline = nil
	}
	wait := time.Until(t)
	c.expired = !t.IsZero() && wait <= 0
	if !t.IsZero() && !c.expired {
		var timer *time.Timer
		timer = time.AfterFunc(wait, func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			if c.deadline == timer { // and not one that was set since
				c.expired = true
				c.changed.Broadcast()
			}
		})
		c.deadline = timer
	}
	c.changed.Broadcast()
}

// SetWriteDeadline does nothing, as nothing waits to be written.
func (c *udpConn) SetWriteDeadline(time.Time) error { return nil }

func (c *udpConn) SetReadBuffer(bytes int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.limit = bytes
	return nil
}

// SetWriteBuffer does nothing, as nothing waits to be written.
func (c *udpConn) SetWriteBuffer(int) error { return nil }
