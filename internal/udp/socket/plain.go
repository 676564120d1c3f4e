package socket

import (
	"net"
	"net/netip"
)

// addrPortConn is a connection that needs no [net.Addr], which is allocated for each
// datagram. The names are not those of [net.UDPConn]: a type that embeds one, and
// has a ReadFrom of its own, must not be gone around.
type addrPortConn interface {
	ReadFromAddrPort(b []byte) (int, netip.AddrPort, error)
	WriteToAddrPort(b []byte, to netip.AddrPort) (int, error)
}

// plain reads and writes one datagram with one call of conn's methods.
type plain struct {
	conn net.PacketConn
	fast addrPortConn // nil: conn is none
	buf  []byte       // nil: nothing has been read yet
	one  [1]Datagram
}

func newPlain(conn net.PacketConn) plain {
	fast, _ := conn.(addrPortConn)
	if udp, ok := conn.(*net.UDPConn); ok {
		fast = &Conn{UDPConn: udp}
	}
	return plain{conn: conn, fast: fast}
}

func (p *plain) WriteToAddrPort(b []byte, to netip.AddrPort) (int, error) {
	if p.fast != nil {
		return p.fast.WriteToAddrPort(b, to)
	}
	return p.conn.WriteTo(b, net.UDPAddrFromAddrPort(to))
}

func (p *plain) readBatch() ([]Datagram, error) {
	if p.buf == nil {
		p.buf = make([]byte, maxDatagram)
	}
	n, from, err := p.read()
	if err != nil {
		return nil, err
	}
	p.one[0] = Datagram{Bytes: p.buf[:n], From: netip.AddrPortFrom(from.Addr().Unmap(), from.Port())}
	return p.one[:], nil
}

func (p *plain) read() (n int, from netip.AddrPort, err error) {
	if p.fast != nil {
		return p.fast.ReadFromAddrPort(p.buf)
	}
	n, addr, err := p.conn.ReadFrom(p.buf)
	if u, ok := addr.(*net.UDPAddr); ok {
		from = u.AddrPort()
	}
	return n, from, err
}
