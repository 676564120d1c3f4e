// Package socket is a node's UDP socket. On Linux it reads many datagrams with one
// call, as a [Sender] sends them, and it can be paused: while it is, no datagram that comes wakes anybody.
// (Go's own poller is woken by each datagram, whether anybody reads or not.)
// Elsewhere, and over networks that are not the system's, it reads and writes one
// datagram at a time.
package socket

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"
)

// An Interceptor is a connection that stands in front of one of the system's. The
// interface is that of package cdn.
type Interceptor interface {
	Underlying() net.PacketConn
	Intercepts() bool
}

// A Socket sends and receives datagrams. One goroutine at a time reads; all else
// may be called concurrently.
type Socket struct {
	conn        net.PacketConn // what the network has handed out
	kernel      *kernel        // the system's socket underneath; nil: there is none
	interceptor Interceptor    // that may want to see the datagrams; nil: there is none
	plain       plain          // reads and writes by conn
}

// A Datagram is one that was read.
type Datagram struct {
	Bytes []byte
	From  netip.AddrPort
	// Arrived is when the system took it from the network, by the wall clock. It is
	// zero where the system does not say that.
	Arrived time.Time
}

const (
	// batchSize is the largest number of datagrams that are read at once.
	batchSize = 32
	// maxDatagram is the length in bytes above which a datagram is cut, as everybody
	// does who reads RTP.
	maxDatagram = 8192
)

// Open returns a socket that reads and writes by conn, which it owns. Where conn is a
// [*Conn] or a [*net.UDPConn], or an [Interceptor] in front of one, it goes around
// conn's methods. A Conn is taken out of the hands of Go's poller. Whoever else has
// conn may close it at any time.
func Open(conn net.PacketConn) (*Socket, error) {
	s := &Socket{conn: conn, plain: newPlain(conn)}
	under := conn
	if i, ok := conn.(Interceptor); ok {
		s.interceptor, under = i, i.Underlying()
	}
	var err error
	switch c := under.(type) {
	case *Conn:
		s.kernel, err = c.take()
	case *net.UDPConn:
		s.kernel, err = share(c)
	}
	if err != nil {
		return nil, err
	}
	if s.kernel == nil {
		s.interceptor = nil // there is nothing to go around to
	}
	return s, nil
}

// Intercepts reports whether every datagram has to go through the network's own
// connection now. Otherwise the file descriptor of SyscallConn may be used.
func (s *Socket) Intercepts() bool {
	return s.kernel == nil || s.interceptor != nil && s.interceptor.Intercepts()
}

// ReadBatch waits until there is a datagram, and returns what is there, which is good
// until the next call. Sources have no IPv4-in-IPv6 form. An error that does not wrap
// [net.ErrClosed] may be about one datagram.
func (s *Socket) ReadBatch() ([]Datagram, error) {
	for {
		all, err := s.readBatch()
		if s.interceptor == nil || !errors.Is(err, os.ErrDeadlineExceeded) {
			return all, err
		}
		// The interceptor has changed its mind, and has ended the read that went the
		// other way.
		if err := s.interceptor.Underlying().SetReadDeadline(time.Time{}); err != nil {
			return nil, err
		}
	}
}

func (s *Socket) readBatch() ([]Datagram, error) {
	if s.Intercepts() {
		return s.plain.readBatch()
	}
	return s.kernel.readBatch()
}

// ReadMore returns, without waiting, more of what was there when ReadBatch last read,
// if that had no room for all of it. It is good until the next call.
func (s *Socket) ReadMore() []Datagram {
	if s.Intercepts() {
		return nil
	}
	return s.kernel.readMore()
}

// Pause lets what comes gather without waking anybody, until ReadBatch finds
// nothing. It returns false where that is not possible, or where there may be more
// to read first. It does not wait.
func (s *Socket) Pause() bool { return !s.Intercepts() && s.kernel.pause() }

// Yield lets other goroutines run, also those that wait for the network. A reader that finds
// more to read for long calls it.
func (s *Socket) Yield() { yield() }

// WriteToAddrPort sends one datagram. One for which there is no room in the socket's
// buffer is an error, and not waited for, where that is possible.
func (s *Socket) WriteToAddrPort(b []byte, to netip.AddrPort) (int, error) {
	if s.Intercepts() {
		return s.plain.WriteToAddrPort(b, to)
	}
	return s.kernel.WriteToAddrPort(b, to)
}

// WriteTo is WriteToAddrPort for a [*net.UDPAddr].
func (s *Socket) WriteTo(b []byte, addr net.Addr) (int, error) {
	to, ok := addr.(*net.UDPAddr)
	if !ok {
		return 0, &net.AddrError{Err: "no UDP address", Addr: addr.String()}
	}
	return s.WriteToAddrPort(b, to.AddrPort())
}

// SyscallConn returns the system's socket. Its file descriptor may be used to send,
// without waiting, while Intercepts returns false.
func (s *Socket) SyscallConn() (syscall.RawConn, error) {
	if s.kernel == nil {
		return nil, errors.ErrUnsupported
	}
	return s.kernel.raw, nil
}

// LocalAddr returns the address that the socket is bound to.
func (s *Socket) LocalAddr() net.Addr { return s.conn.LocalAddr() }

// Close ends ReadBatch, and frees the port.
func (s *Socket) Close() error { return s.conn.Close() }
