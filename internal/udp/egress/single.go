package egress

import (
	"errors"
	"net"
	"net/netip"
	"syscall"

	"github.com/deltacdn/delta/internal/udp/socket"
)

// addrPortConn is a Conn that needs no [net.Addr].
type addrPortConn interface {
	WriteToAddrPort(b []byte, to netip.AddrPort) (int, error)
}

// A single sends one datagram a call.
type single struct {
	socket *Socket
	direct addrPortConn // nil: there is none

	// The last destination. An address is never written again once it was
	// handed out, as virtual networks keep it.
	to   netip.AddrPort
	addr *net.UDPAddr
}

func newSingle(s *Socket) single {
	direct, _ := s.conn.(addrPortConn)
	if udp, ok := s.conn.(*net.UDPConn); ok {
		direct = &socket.Conn{UDPConn: udp}
	}
	return single{socket: s, direct: direct}
}

// send sends the runs. If the socket is closed, it returns what is left.
func (s *single) send(runs []gsoRun) (rest []gsoRun, err error) {
	for len(runs) > 0 {
		datagram, to := runs[0].first(), runs[0].to
		err := s.write(datagram, to)
		if mayBeLate(err) {
			err = s.write(datagram, to)
		}
		if isClosed(err) {
			return runs, err
		}
		if err != nil {
			s.socket.drop(1, err)
		}
		runs = skip(runs, len(datagram))
	}
	return nil, nil
}

// mayBeLate reports whether an error may be about an earlier datagram: ICMP
// errors are reported to the next one.
func mayBeLate(err error) bool {
	if err == nil {
		return false
	}
	var errno syscall.Errno
	return errors.As(err, &errno)
}

func (s *single) write(b []byte, to netip.AddrPort) error {
	err := s.call(b, to)
	if err != nil {
		s.socket.calls.Add(1)
	} else {
		s.socket.sent(1, 1)
	}
	return err
}

func (s *single) call(b []byte, to netip.AddrPort) error {
	if s.direct != nil {
		_, err := s.direct.WriteToAddrPort(b, to)
		return err
	}
	if s.addr == nil || s.to != to {
		s.to, s.addr = to, net.UDPAddrFromAddrPort(to)
	}
	_, err := s.socket.conn.WriteTo(b, s.addr)
	return err
}
