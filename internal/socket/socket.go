// Package socket is a node's UDP socket. On Linux datagrams are read many to a
// call, and the socket can be let rest: while it does, nobody is woken by what
// comes. (Go's own poller is woken by each datagram, whether anybody reads or
// not.) Elsewhere, and over virtual networks, it is the connection as it was.
package socket

import (
	"net"
	"net/netip"
)

// A Socket sends and receives datagrams. One goroutine at a time reads; all else
// may be called concurrently.
type Socket interface {
	// ReadBatch waits until there is a datagram, and returns what is there, which
	// is good until the next call. Sources have no IPv4-in-IPv6 form. An error that
	// does not wrap [net.ErrClosed] may be about one datagram.
	ReadBatch() ([]Datagram, error)
	// Rest has what comes gather without waking anybody, until ReadBatch finds
	// nothing, or returns false: that cannot be had, or there may be more to read
	// first. It does not wait.
	Rest() bool
	// WriteToUDPAddrPort sends one datagram. One for which there is no room in the
	// socket's buffer is an error, and not waited for, where that is possible.
	WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error)
	// WriteTo is the same, of a *net.UDPAddr.
	WriteTo(b []byte, to net.Addr) (int, error)
	LocalAddr() net.Addr
	// Close ends ReadBatch, and frees the port.
	Close() error
}

// A Datagram is one that was read.
type Datagram struct {
	Bytes []byte
	From  netip.AddrPort
}

const (
	// batchSize is how many datagrams are read at once, at the most.
	batchSize = 32
	// maxDatagram is how long they may be: those that are longer are cut, as by
	// everybody who reads RTP.
	maxDatagram = 8192
)

// Take takes conn over, which the caller has made: what is returned has to be used
// and closed in its place.
func Take(conn net.PacketConn) (Socket, error) {
	if s, err := newKernel(conn); s != nil || err != nil {
		return s, err
	}
	return Wrap(conn), nil
}

// Share uses conn, which somebody else may have hold of, and closes it. Where conn
// is a UDP socket of the system's, or lends one ([syscall.Conn]), many datagrams
// are read to a call, but the socket cannot be let rest.
func Share(conn net.PacketConn) (Socket, error) {
	if s := newShared(conn); s != nil {
		return s, nil
	}
	return Wrap(conn), nil
}

// Wrap returns a Socket that reads and writes by conn, and closes it. Who made it
// may close it, too.
func Wrap(conn net.PacketConn) Socket {
	fast, _ := conn.(addrPortConn)
	return &plain{PacketConn: conn, fast: fast, buf: make([]byte, maxDatagram)}
}
