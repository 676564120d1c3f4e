package cdn

import (
	"fmt"
	"net"
	"net/netip"
)

// A Network is where a [Node] gets its UDP sockets from. The operating system's
// is [SystemNetwork]; package cdntest has a virtual one. Its methods may be
// called concurrently.
//
// It is as small as a node needs, and its types are those of the standard
// library, so that it does not change when the libraries underneath do.
type Network interface {
	// ListenUDP opens a UDP socket. An address without an IP, and an unspecified
	// one (0.0.0.0 or ::), stands for all addresses of the network; port 0 stands
	// for a free port. It fails with an error that wraps [syscall.EADDRINUSE]
	// where the port is taken, and [net.ErrClosed] where the network was closed.
	//
	// The caller owns the socket, which need not be a [*net.UDPConn]. Its LocalAddr
	// is a [*net.UDPAddr], and so are the addresses that it reads from and writes
	// to. After Close its methods fail with an error that wraps [net.ErrClosed];
	// a pending read does, too. WriteTo must not block for long: one slow
	// datagram would hold up all sessions. All methods may be called concurrently.
	//
	// What the socket can do beyond that is used where it is there:
	//
	//   - SetReadBuffer and SetWriteBuffer(bytes int) error, to ask for more room;
	//   - ReadFromUDPAddrPort and WriteToUDPAddrPort, as [net.UDPConn] has them,
	//     which spare an allocation each;
	//   - [syscall.Conn]: then the node reads and writes many datagrams to a call
	//     through the file descriptor, and does not call ReadFrom and WriteTo. A
	//     type that embeds [*net.UDPConn] has this method, too; one that has to see
	//     the datagrams must hide it. Closing the socket from elsewhere ends the
	//     node's reads and writes.
	ListenUDP(addr netip.AddrPort) (net.PacketConn, error)
	// Addrs returns the addresses at which sockets can be reached from elsewhere,
	// and the loopback addresses, in the order in which clients are told of them.
	Addrs() ([]netip.Addr, error)
}

// A TCPNetwork is a [Network] that can listen for TCP connections, too: for
// clients whose UDP does not get through (RFC 6544). No node does so yet.
type TCPNetwork interface {
	Network
	// ListenTCP opens a listener. The address and the errors are as of ListenUDP.
	// The caller owns the listener, and each connection that it accepts.
	ListenTCP(addr netip.AddrPort) (net.Listener, error)
}

// SystemNetwork returns the operating system's network. It is a [TCPNetwork],
// and its UDP sockets are of type [*net.UDPConn].
func SystemNetwork() Network { return systemNetwork{} }

type systemNetwork struct{}

var _ TCPNetwork = systemNetwork{}

func (systemNetwork) ListenUDP(addr netip.AddrPort) (net.PacketConn, error) {
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(addr))
	if err != nil {
		return nil, err // not a nil *net.UDPConn in an interface
	}
	return conn, nil
}

func (systemNetwork) ListenTCP(addr netip.AddrPort) (net.Listener, error) {
	l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(addr))
	if err != nil {
		return nil, err
	}
	return l, nil
}

// Addrs leaves out link-local addresses, which mean nothing without the link.
func (systemNetwork) Addrs() ([]netip.Addr, error) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	var all []netip.Addr
	for _, i := range interfaces {
		addrs, err := i.Addrs()
		if err != nil || i.Flags&net.FlagUp == 0 {
			continue // an interface without addresses is no failure
		}
		for _, a := range addrs {
			prefix, err := netip.ParsePrefix(a.String())
			if err != nil || prefix.Addr().IsLinkLocalUnicast() {
				continue
			}
			all = append(all, prefix.Addr().Unmap())
		}
	}
	return all, nil
}

// resolve returns the address that Config.Addr names. Host names are the
// operating system's, whatever the network is.
func resolve(address string) (netip.AddrPort, error) {
	addr, err := net.ResolveUDPAddr("udp", address)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	at := addr.AddrPort()
	return netip.AddrPortFrom(at.Addr().Unmap(), at.Port()), nil
}
