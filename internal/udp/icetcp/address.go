package icetcp

import (
	"net"
	"net/netip"
)

// zone marks the addresses of TCP clients. No network interface can have this name.
const zone = "/tcp"

// Address returns the address by which a client at a TCP address is known: it
// differs from that of a UDP client at the same host and port, and is an IPv6
// address with a zone even where the client's is IPv4. It must not reach a UDP
// socket, nor a client: see [Plain].
func Address(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom16(a.Addr().As16()).WithZone(zone), a.Port())
}

// Is reports whether an address is that of a TCP client.
func Is(a netip.AddrPort) bool { return !a.Addr().Is4() && a.Addr().Zone() == zone }

// Plain returns the TCP address of a client, and any other address as it is.
func Plain(a netip.AddrPort) netip.AddrPort {
	if !Is(a) {
		return a
	}
	return netip.AddrPortFrom(a.Addr().WithZone("").Unmap(), a.Port())
}

// remote returns the TCP address of the other side of conn.
func remote(conn net.Conn) (netip.AddrPort, bool) {
	a, ok := conn.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}, false
	}
	at := a.AddrPort()
	return at, at.IsValid()
}
