package socket

import (
	"net"
	"net/netip"
	"strconv"

	"golang.org/x/sys/unix"
)

// A sendOp is one call that sends one datagram. It is used again, so that nothing is
// allocated.
type sendOp struct {
	to4  unix.SockaddrInet4
	to6  unix.SockaddrInet6
	to   unix.Sockaddr // one of these
	b    []byte
	err  error
	send func(fd uintptr)
}

func newSendOp() *sendOp {
	o := &sendOp{}
	o.send = func(fd uintptr) { o.err = unix.Sendto(int(fd), o.b, unix.MSG_DONTWAIT, o.to) }
	return o
}

// setAddr sets the destination. A socket of both families takes IPv4 addresses as
// they are.
func (o *sendOp) setAddr(to netip.AddrPort) {
	ip := to.Addr().Unmap()
	if ip.Is4() {
		o.to4.Addr, o.to4.Port, o.to = ip.As4(), int(to.Port()), &o.to4
		return
	}
	o.to6.Addr, o.to6.Port, o.to6.ZoneId, o.to = ip.As16(), int(to.Port()), zoneID(ip.Zone()), &o.to6
}

// zoneID returns the index of the interface that an IPv6 zone names, or 0.
func zoneID(name string) uint32 {
	if name == "" {
		return 0
	}
	if i, err := net.InterfaceByName(name); err == nil {
		return uint32(i.Index)
	}
	n, _ := strconv.ParseUint(name, 10, 32) // 0, if it is no number either
	return uint32(n)
}

// maxSpareOps is the number of unused operations that are kept, for as many goroutines
// that send at the same time.
const maxSpareOps = 8

func (k *kernel) takeOp() *sendOp {
	select {
	case o := <-k.spareOps:
		return o
	default:
		return newSendOp()
	}
}

func (k *kernel) putOp(o *sendOp) {
	select {
	case k.spareOps <- o:
	default:
	}
}

// WriteToAddrPort sends one datagram, without waiting.
func (k *kernel) WriteToAddrPort(b []byte, to netip.AddrPort) (int, error) {
	o := k.takeOp()
	defer k.putOp(o)
	o.setAddr(to)
	o.b, o.err = b, nil
	err := k.raw.Control(o.send)
	if err == nil {
		err = o.err
	}
	o.b = nil
	if err != nil {
		return 0, &net.OpError{Op: "write", Net: "udp", Source: k.local, Addr: net.UDPAddrFromAddrPort(to), Err: err}
	}
	return len(b), nil
}
