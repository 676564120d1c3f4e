package socket

import (
	"net"
	"syscall"

	"golang.org/x/net/ipv4"
)

// Lend has golang.org/x/net read and write many datagrams to a call, of either
// family, where raw is the socket: by itself it takes only connections of the
// standard library's kinds for such. Calls want the flag MSG_DONTWAIT, and never
// wait. One goroutine at a time uses the result.
func Lend(raw syscall.RawConn) *ipv4.PacketConn {
	l := &loan{RawConn: raw}
	l.call = func(fd uintptr) { l.f(fd) }
	return ipv4.NewPacketConn(lent{raw: l})
}

// lent is a UDP connection as far as x/net looks at it.
type lent struct {
	*net.UDPConn // nil, for its method set
	raw          syscall.RawConn
}

func (c lent) SyscallConn() (syscall.RawConn, error) { return c.raw, nil }

// LocalAddr is for x/net's errors.
func (c lent) LocalAddr() net.Addr { return &net.UDPAddr{} }

// A loan calls what reads or writes once, without the locks and deadlines that
// the connection's own Read and Write have.
type loan struct {
	syscall.RawConn
	f    func(fd uintptr) bool
	call func(fd uintptr)
}

func (l *loan) Read(f func(fd uintptr) bool) error  { return l.once(f) }
func (l *loan) Write(f func(fd uintptr) bool) error { return l.once(f) }

func (l *loan) once(f func(fd uintptr) bool) error {
	l.f = f
	return l.Control(l.call)
}
