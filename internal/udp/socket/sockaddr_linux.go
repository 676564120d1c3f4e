package socket

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// A sockaddr is the system's struct sockaddr_in or sockaddr_in6. Both begin with the
// family in the machine's order of bytes and the port in the network's.
type sockaddr [unix.SizeofSockaddrInet6]byte

// Where parts of a sockaddr are.
const (
	atPort  = 2
	atIPv4  = 4
	atFlow  = 4
	atIPv6  = 8
	atScope = 24
)

// put writes an address, and returns how long it is. A socket of both families takes
// IPv4 addresses as they are.
func (s *sockaddr) put(to netip.AddrPort) (bytes uint32) {
	binary.BigEndian.PutUint16(s[atPort:], to.Port())
	ip := to.Addr()
	if ip.Is4() || ip.Is4In6() {
		b := ip.As4()
		binary.NativeEndian.PutUint16(s[:], unix.AF_INET)
		copy(s[atIPv4:], b[:])
		return unix.SizeofSockaddrInet4
	}
	b := ip.As16()
	binary.NativeEndian.PutUint16(s[:], unix.AF_INET6)
	binary.NativeEndian.PutUint32(s[atFlow:], 0)
	copy(s[atIPv6:], b[:])
	binary.NativeEndian.PutUint32(s[atScope:], zones.index(ip.Zone()))
	return unix.SizeofSockaddrInet6
}

// get returns the address, of which so many bytes were written. IPv4 addresses have no
// IPv4-in-IPv6 form. It is false for another family's.
func (s *sockaddr) get(bytes uint32) (from netip.AddrPort, ok bool) {
	port := binary.BigEndian.Uint16(s[atPort:])
	switch family := binary.NativeEndian.Uint16(s[:]); {
	case family == unix.AF_INET && bytes >= unix.SizeofSockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(s[atIPv4:])), port), true
	case family == unix.AF_INET6 && bytes >= unix.SizeofSockaddrInet6:
		ip := netip.AddrFrom16([16]byte(s[atIPv6:])).Unmap()
		if scope := binary.NativeEndian.Uint32(s[atScope:]); scope != 0 && ip.Is6() {
			ip = ip.WithZone(zones.name(scope))
		}
		return netip.AddrPortFrom(ip, port), true
	}
	return netip.AddrPort{}, false
}
