package cdntest

import (
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/pion/transport/v5"
	"github.com/pion/transport/v5/deadline"
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

	readBy *deadline.Deadline
	ready  chan struct{} // 1 slot: something waits
	closed chan struct{}
	once   sync.Once

	mu      sync.Mutex
	waiting []*datagram
	bytes   int
	limit   int
}

var _ transport.UDPConn = (*udpConn)(nil)

func newUDPConn(h *Host, remote *net.UDPAddr) *udpConn {
	c := &udpConn{
		host:   h,
		readBy: deadline.New(),
		ready:  make(chan struct{}, 1),
		closed: make(chan struct{}),
		limit:  socketBuffer,
	}
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
	c.signalLocked()
	return true
}

func (c *udpConn) signalLocked() {
	select {
	case c.ready <- struct{}{}:
	default: // it is signaled already
	}
}

// pop returns the packet that waited longest, or nil.
func (c *udpConn) pop() *datagram {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.waiting) == 0 {
		return nil
	}
	d := c.waiting[0]
	c.waiting[0] = nil
	c.waiting = c.waiting[1:]
	c.bytes -= len(d.data) + packetOverhead
	if len(c.waiting) > 0 {
		c.signalLocked() // for another reader
	} else {
		c.waiting = nil
	}
	return d
}

// read waits for a packet.
func (c *udpConn) read() (*datagram, error) {
	for {
		select {
		case <-c.closed:
			return nil, opError("read", c.local, net.ErrClosed)
		case <-c.readBy.Done():
			return nil, opError("read", c.local, os.ErrDeadlineExceeded)
		default:
		}
		if d := c.pop(); d != nil {
			return d, nil
		}
		select {
		case <-c.ready:
		case <-c.closed:
		case <-c.readBy.Done():
		}
	}
}

func (c *udpConn) Read(b []byte) (int, error) {
	d, err := c.read()
	if err != nil {
		return 0, err
	}
	return copy(b, d.data), nil
}

func (c *udpConn) ReadFrom(b []byte) (int, net.Addr, error) {
	n, addr, err := c.ReadFromUDP(b)
	if err != nil {
		return 0, nil, err // not a nil *net.UDPAddr in an interface
	}
	return n, addr, nil
}

func (c *udpConn) ReadFromUDP(b []byte) (int, *net.UDPAddr, error) {
	d, err := c.read()
	if err != nil {
		return 0, nil, err
	}
	return copy(b, d.data), net.UDPAddrFromAddrPort(d.src), nil
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
	if c.remote.IsValid() {
		return 0, opError("write", c.local, net.ErrWriteToConnected)
	}
	return c.writeTo(b, unmap(addr.AddrPort()))
}

func (c *udpConn) WriteMsgUDP(b, _ []byte, addr *net.UDPAddr) (n, oobn int, err error) {
	n, err = c.WriteToUDP(b, addr)
	return n, 0, err
}

func (c *udpConn) writeTo(b []byte, dst netip.AddrPort) (int, error) {
	select {
	case <-c.closed:
		return 0, opError("write", c.local, net.ErrClosed)
	default:
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

func (c *udpConn) Close() error {
	err := opError("close", c.local, net.ErrClosed)
	c.once.Do(func() {
		close(c.closed)
		c.readBy.Set(time.Time{}) // stops its timer
		n := c.host.network
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(c.host.ports, c.local.Port())
		err = nil
	})
	return err
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
	select {
	case <-c.closed:
		return opError("set", c.local, net.ErrClosed)
	default:
		c.readBy.Set(t)
		return nil
	}
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
