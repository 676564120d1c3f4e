package main

import (
	"io"
	"net"
	"net/netip"

	"github.com/deltacdn/delta/cdn"
)

var _ cdn.TCPNetwork = (*faultNet)(nil)

// ListenTCP opens a listener for media that cut closes, with its connections.
func (f *faultNet) ListenTCP(addr netip.AddrPort) (net.Listener, error) {
	l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(addr))
	if err != nil {
		return nil, err
	}
	return &faultListener{l, f}, f.hold(l)
}

// hold has cut close c, or closes it if that was before.
func (f *faultNet) hold(c io.Closer) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.isCut {
		_ = c.Close()
		return net.ErrClosed
	}
	f.connections[c] = struct{}{}
	return nil
}

func (f *faultNet) letGo(c io.Closer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.connections, c)
}

type faultListener struct {
	*net.TCPListener
	faults *faultNet
}

func (l *faultListener) Accept() (net.Conn, error) {
	conn, err := l.AcceptTCP()
	if err != nil {
		return nil, err
	}
	return &faultConn{conn, l.faults}, l.faults.hold(conn)
}

func (l *faultListener) Close() error {
	l.faults.letGo(l.TCPListener)
	return l.TCPListener.Close()
}

// A faultConn has the methods of the system's connection, for the node to tune it.
type faultConn struct {
	*net.TCPConn
	faults *faultNet
}

func (c *faultConn) Close() error {
	c.faults.letGo(c.TCPConn)
	return c.TCPConn.Close()
}
