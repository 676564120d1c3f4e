// Package pionnet has pion's libraries use a network that is not of pion's
// interface: as much as ICE agents with host candidates need of it.
package pionnet

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/pion/transport/v5"
)

// A Network is what is to be used: the interface is that of package cdn.
type Network interface {
	ListenUDP(addr netip.AddrPort) (net.PacketConn, error)
	Addrs() ([]netip.Addr, error)
}

// New returns n for pion's settings. It listens for UDP alone: for anything else
// it returns [transport.ErrNotSupported]. Its methods may be called concurrently.
func New(n Network) transport.Net { return network{n} }

type network struct{ Network }

func (n network) ListenUDP(kind string, local *net.UDPAddr) (transport.UDPConn, error) {
	if err := checkUDP(kind); err != nil {
		return nil, err
	}
	var at netip.AddrPort
	if local != nil {
		at = netip.AddrPortFrom(local.AddrPort().Addr().Unmap(), uint16(local.Port))
	}
	if !at.Addr().IsValid() {
		switch {
		case strings.HasSuffix(kind, "4"):
			at = netip.AddrPortFrom(netip.IPv4Unspecified(), at.Port())
		case strings.HasSuffix(kind, "6"):
			at = netip.AddrPortFrom(netip.IPv6Unspecified(), at.Port())
		}
	}
	c, err := n.Network.ListenUDP(at)
	if err != nil {
		return nil, err
	}
	if udp, ok := c.(transport.UDPConn); ok {
		return udp, nil
	}
	return conn{c}, nil
}

func (n network) ListenPacket(kind, address string) (net.PacketConn, error) {
	local, err := n.ResolveUDPAddr(kind, address)
	if err != nil {
		return nil, err
	}
	return n.ListenUDP(kind, local)
}

func (n network) ResolveUDPAddr(kind, address string) (*net.UDPAddr, error) {
	if err := checkUDP(kind); err != nil {
		return nil, err
	}
	return net.ResolveUDPAddr(kind, address)
}

func (n network) ResolveIPAddr(kind, address string) (*net.IPAddr, error) {
	return net.ResolveIPAddr(kind, address)
}

func (n network) ResolveTCPAddr(kind, address string) (*net.TCPAddr, error) {
	return net.ResolveTCPAddr(kind, address)
}

// The network knows addresses, and not which interface has them: there is one for
// the loopback addresses, which agents leave out unless told otherwise, and one
// for all others.
const loopback, other = "lo", "net"

// Interfaces returns one interface of each sort of which there are addresses.
func (n network) Interfaces() ([]*transport.Interface, error) {
	addrs, err := n.Addrs()
	if err != nil {
		return nil, err
	}
	lo := transport.NewInterface(net.Interface{
		Index: 1, MTU: 65536, Name: loopback, Flags: net.FlagUp | net.FlagRunning | net.FlagLoopback,
	})
	rest := transport.NewInterface(net.Interface{Index: 2, MTU: 1500, Name: other, Flags: net.FlagUp | net.FlagRunning})
	for _, ip := range addrs {
		ip = ip.Unmap().WithZone("")
		a := &net.IPNet{IP: ip.AsSlice(), Mask: net.CIDRMask(ip.BitLen(), ip.BitLen())}
		if ip.IsLoopback() {
			lo.AddAddress(a)
		} else {
			rest.AddAddress(a)
		}
	}
	var all []*transport.Interface
	for _, i := range []*transport.Interface{lo, rest} {
		if _, err := i.Addrs(); err == nil {
			all = append(all, i)
		}
	}
	return all, nil
}

func (n network) InterfaceByIndex(index int) (*transport.Interface, error) {
	return n.find(func(i *transport.Interface) bool { return i.Index == index })
}

func (n network) InterfaceByName(name string) (*transport.Interface, error) {
	return n.find(func(i *transport.Interface) bool { return i.Name == name })
}

func (n network) find(is func(*transport.Interface) bool) (*transport.Interface, error) {
	all, err := n.Interfaces()
	if err != nil {
		return nil, err
	}
	for _, i := range all {
		if is(i) {
			return i, nil
		}
	}
	return nil, transport.ErrInterfaceNotFound
}

func (n network) CreateDialer(*net.Dialer) transport.Dialer { return n }

func (n network) CreateListenConfig(*net.ListenConfig) transport.ListenConfig {
	return listenConfig{n}
}

func (network) Dial(string, string) (net.Conn, error) { return nil, transport.ErrNotSupported }

func (network) DialUDP(string, *net.UDPAddr, *net.UDPAddr) (transport.UDPConn, error) {
	return nil, transport.ErrNotSupported
}

func (network) ListenTCP(string, *net.TCPAddr) (transport.TCPListener, error) {
	return nil, transport.ErrNotSupported
}

func (network) DialTCP(string, *net.TCPAddr, *net.TCPAddr) (transport.TCPConn, error) {
	return nil, transport.ErrNotSupported
}

type listenConfig struct{ network network }

func (listenConfig) Listen(context.Context, string, string) (net.Listener, error) {
	return nil, transport.ErrNotSupported
}

func (c listenConfig) ListenPacket(_ context.Context, kind, address string) (net.PacketConn, error) {
	return c.network.ListenPacket(kind, address)
}

func checkUDP(kind string) error {
	switch kind {
	case "udp", "udp4", "udp6":
		return nil
	}
	return fmt.Errorf("%w: network %q", transport.ErrNotSupported, kind)
}

// A conn gives a socket that is no more than a [net.PacketConn] the methods that
// pion wants. It is not connected.
type conn struct{ net.PacketConn }

func (conn) RemoteAddr() net.Addr { return nil }

func (c conn) Read(b []byte) (int, error) {
	n, _, err := c.ReadFrom(b)
	return n, err
}

func (conn) Write([]byte) (int, error) { return 0, transport.ErrNotSupported }

func (c conn) ReadFromUDP(b []byte) (int, *net.UDPAddr, error) {
	n, addr, err := c.ReadFrom(b)
	if err != nil {
		return n, nil, err
	}
	udp, ok := addr.(*net.UDPAddr)
	if !ok {
		return n, nil, transport.ErrNotUDPAddress
	}
	return n, udp, nil
}

func (c conn) ReadMsgUDP(b, _ []byte) (n, oobn, flags int, addr *net.UDPAddr, err error) {
	n, addr, err = c.ReadFromUDP(b)
	return n, 0, 0, addr, err
}

func (c conn) WriteToUDP(b []byte, addr *net.UDPAddr) (int, error) { return c.WriteTo(b, addr) }

func (c conn) WriteMsgUDP(b, _ []byte, addr *net.UDPAddr) (n, oobn int, err error) {
	n, err = c.WriteTo(b, addr)
	return n, 0, err
}

// SetReadBuffer and SetWriteBuffer pass on what the socket can do.
func (c conn) SetReadBuffer(bytes int) error {
	if s, ok := c.PacketConn.(interface{ SetReadBuffer(int) error }); ok {
		return s.SetReadBuffer(bytes)
	}
	return nil
}

func (c conn) SetWriteBuffer(bytes int) error {
	if s, ok := c.PacketConn.(interface{ SetWriteBuffer(int) error }); ok {
		return s.SetWriteBuffer(bytes)
	}
	return nil
}
