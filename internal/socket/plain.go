package socket

import (
	"net"
	"net/netip"
)

type addrPortConn interface {
	ReadFromUDPAddrPort(b []byte) (n int, addr netip.AddrPort, err error)
	WriteToUDPAddrPort(b []byte, addr netip.AddrPort) (int, error)
}

// plain reads one datagram a call.
type plain struct {
	net.PacketConn
	fast addrPortConn // nil: there is none
	buf  []byte
	one  [1]Datagram
}

func (p *plain) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	if p.fast != nil {
		return p.fast.WriteToUDPAddrPort(b, to)
	}
	return p.WriteTo(b, net.UDPAddrFromAddrPort(to))
}

func (p *plain) ReadBatch() ([]Datagram, error) {
	n, from, err := p.read()
	if err != nil {
		return nil, err
	}
	p.one[0] = Datagram{Bytes: p.buf[:n], From: netip.AddrPortFrom(from.Addr().Unmap(), from.Port())}
	return p.one[:], nil
}

func (p *plain) read() (n int, from netip.AddrPort, err error) {
	if p.fast != nil {
		return p.fast.ReadFromUDPAddrPort(p.buf)
	}
	n, addr, err := p.ReadFrom(p.buf)
	if u, ok := addr.(*net.UDPAddr); ok {
		from = u.AddrPort()
	}
	return n, from, err
}

func (p *plain) Rest() bool { return false }
