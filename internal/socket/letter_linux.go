package socket

import (
	"net"
	"net/netip"
	"strconv"

	"golang.org/x/sys/unix"
)

// A letter is a datagram that is sent by itself. It is used again, so that
// nothing is allocated.
type letter struct {
	to4  unix.SockaddrInet4
	to6  unix.SockaddrInet6
	to   unix.Sockaddr // one of these
	b    []byte
	err  error
	send func(fd uintptr)
}

func newLetter() *letter {
	l := &letter{}
	l.send = func(fd uintptr) { l.err = unix.Sendto(int(fd), l.b, unix.MSG_DONTWAIT, l.to) }
	return l
}

// address writes where the letter goes. A socket of both families takes IPv4
// addresses as they are.
func (l *letter) address(to netip.AddrPort) {
	ip := to.Addr().Unmap()
	if ip.Is4() {
		l.to4.Addr, l.to4.Port, l.to = ip.As4(), int(to.Port()), &l.to4
		return
	}
	l.to6.Addr, l.to6.Port, l.to6.ZoneId, l.to = ip.As16(), int(to.Port()), zone(ip.Zone()), &l.to6
}

// zone returns the index of an interface that an IPv6 address names, 0: none.
func zone(name string) uint32 {
	if name == "" {
		return 0
	}
	if i, err := net.InterfaceByName(name); err == nil {
		return uint32(i.Index)
	}
	n, _ := strconv.ParseUint(name, 10, 32) // 0, if it is no number either
	return uint32(n)
}

// spareLetters is how many are kept: as many goroutines send at one moment.
const spareLetters = 8

func (k *kernel) letter() *letter {
	select {
	case l := <-k.letters:
		return l
	default:
		return newLetter()
	}
}

func (k *kernel) spare(l *letter) {
	select {
	case k.letters <- l:
	default:
	}
}

func (k *kernel) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	l := k.letter()
	defer k.spare(l)
	l.address(to)
	l.b, l.err = b, nil
	err := k.raw.Control(l.send)
	if err == nil {
		err = l.err
	}
	l.b = nil
	if err != nil {
		return 0, &net.OpError{Op: "write", Net: "udp", Source: k.local, Addr: net.UDPAddrFromAddrPort(to), Err: err}
	}
	return len(b), nil
}

func (k *kernel) WriteTo(b []byte, addr net.Addr) (int, error) {
	to, ok := addr.(*net.UDPAddr)
	if !ok {
		return 0, &net.AddrError{Err: "no UDP address", Addr: addr.String()}
	}
	return k.WriteToUDPAddrPort(b, to.AddrPort())
}
