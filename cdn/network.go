package cdn

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/deltacdn/delta/internal/udp/socket"
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
	// The caller owns the socket. Its LocalAddr is a [*net.UDPAddr], and so are the
	// addresses that it reads from and writes to. After Close its methods fail with
	// an error that wraps [net.ErrClosed]; a pending read does, too. WriteTo must not
	// block for long: one slow datagram would hold up all sessions. All methods may
	// be called concurrently.
	//
	// What else a node uses depends on the socket's type:
	//
	//   - A socket of [SystemNetwork] or a [*net.UDPConn]: the node reads and writes
	//     many datagrams with one call, and does not call ReadFrom and WriteTo. The
	//     network may keep the socket and close it, which ends that at once. A socket
	//     of SystemNetwork costs less than a UDPConn while sessions are idle, since
	//     Go's poller does not watch it.
	//   - An [Interceptor] in front of one of these: the same, while nothing is
	//     intercepted.
	//   - Any other type, also one that embeds a UDPConn: the node calls ReadFrom and
	//     WriteTo for each datagram. Where the socket has the methods
	//     ReadFromAddrPort(b []byte) (n int, from netip.AddrPort, err error) and
	//     WriteToAddrPort(b []byte, to netip.AddrPort) (n int, err error), it calls
	//     these, which saves an allocation each.
	//
	// SetReadBuffer and SetWriteBuffer(bytes int) error are called, where the socket
	// has them, to ask for more room.
	ListenUDP(addr netip.AddrPort) (net.PacketConn, error)
	// Addrs returns the addresses at which sockets can be reached from elsewhere,
	// and the loopback addresses, in the order in which clients are told of them.
	Addrs() ([]netip.Addr, error)
}

// An Interceptor is a socket of a [Network] that stands in front of one of the
// system's, and sees the datagrams only at times: to drop some in a test, for
// example. While it does not intercept, a node goes around it, which costs
// nothing. Its methods may be called concurrently.
type Interceptor interface {
	// Underlying returns the socket behind this one, of [SystemNetwork] or a
	// [*net.UDPConn]. It is always the same. A node reads by it from now on, and
	// nobody else may do so, except through this socket's ReadFrom.
	Underlying() net.PacketConn
	// Intercepts reports whether each datagram has to go through this socket's
	// ReadFrom and WriteTo. A node asks ahead of each batch that it reads or writes.
	// A node that waits for datagrams does not ask again by itself: after a change,
	// call SetReadDeadline(time.Now()) on the socket underneath. The node then
	// clears the deadline and asks. A batch that it is about to read at that moment
	// may still go the other way.
	Intercepts() bool
}

// A TCPNetwork is a [Network] that can listen for TCP connections, too: for
// clients whose UDP does not get through (RFC 6544). A node with [Config].TCPAddr needs
// one.
type TCPNetwork interface {
	Network
	// ListenTCP opens a listener. The address and the errors are as of ListenUDP.
	// The caller owns the listener, and each connection that it accepts. Its Addr, and
	// its connections' RemoteAddr, are of type [*net.TCPAddr].
	ListenTCP(addr netip.AddrPort) (net.Listener, error)
}

// SystemNetwork returns the operating system's network. It is a [TCPNetwork]. Its
// UDP sockets have the methods of a [*net.UDPConn]. Once a node has one, only those
// of [net.PacketConn] work.
func SystemNetwork() Network { return systemNetwork{} }

type systemNetwork struct{}

var _ TCPNetwork = systemNetwork{}

func (systemNetwork) ListenUDP(addr netip.AddrPort) (net.PacketConn, error) {
	conn, err := socket.Listen(addr)
	if err != nil {
		return nil, err // not a nil *socket.Conn in an interface
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
