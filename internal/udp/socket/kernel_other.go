//go:build !linux

package socket

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// kernel is a socket of which many datagrams are read with one call, which is for
// Linux.
type kernel struct{ raw syscall.RawConn }

func newKernel(*net.UDPConn) (*kernel, error) { return nil, nil }

func share(*net.UDPConn) (*kernel, error) { return nil, nil }

func (*kernel) readBatch() ([]Datagram, error) { return nil, errors.ErrUnsupported }

func (*kernel) readMore() []Datagram { return nil }

func (*kernel) readOne([]byte) (int, netip.AddrPort, error) {
	return 0, netip.AddrPort{}, errors.ErrUnsupported
}

func (*kernel) WriteToAddrPort([]byte, netip.AddrPort) (int, error) {
	return 0, errors.ErrUnsupported
}

func (*kernel) pause() bool { return false }

// yield does nothing: Go's scheduler is told of each datagram that is read.
func yield() {}

func (*kernel) setReadDeadline(time.Time) error { return errors.ErrUnsupported }

func (*kernel) close() error { return errors.ErrUnsupported }
