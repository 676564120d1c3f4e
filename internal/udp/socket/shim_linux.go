package socket

import (
	"net"
	"syscall"

	"golang.org/x/net/ipv4"
)

// NewRawPacketConn returns a connection of golang.org/x/net that reads and writes
// many datagrams of raw, of either family, with one call. (By itself, x/net takes
// only connections of the standard library's types for that.) Calls need the flag
// MSG_DONTWAIT, and never wait. One goroutine at a time uses the result.
func NewRawPacketConn(raw syscall.RawConn) *ipv4.PacketConn {
	s := &rawConnShim{RawConn: raw}
	s.call = func(fd uintptr) { s.f(fd) }
	return ipv4.NewPacketConn(udpConnShim{raw: s})
}

// udpConnShim is a UDP connection as far as x/net looks at it.
type udpConnShim struct {
	*net.UDPConn // nil, for its method set
	raw          syscall.RawConn
}

func (c udpConnShim) SyscallConn() (syscall.RawConn, error) { return c.raw, nil }

// LocalAddr is for x/net's errors.
func (c udpConnShim) LocalAddr() net.Addr { return &net.UDPAddr{} }

// A rawConnShim calls a function that reads or writes once, without the locks and
// deadlines of the connection's own Read and Write.
type rawConnShim struct {
	syscall.RawConn
	f    func(fd uintptr) bool
	call func(fd uintptr)
}

func (s *rawConnShim) Read(f func(fd uintptr) bool) error  { return s.once(f) }
func (s *rawConnShim) Write(f func(fd uintptr) bool) error { return s.once(f) }

func (s *rawConnShim) once(f func(fd uintptr) bool) error {
	s.f = f
	return s.Control(s.call)
}
