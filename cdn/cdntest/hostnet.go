package cdntest

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"

	"github.com/pion/transport/v5"
)

// firstPort is where the range of ports begins that are given to sockets which
// name none (RFC 6335 section 6).
const firstPort = 49152

// hostNetwork is a host's [cdn.Network].
type hostNetwork struct{ host *Host }

func (n hostNetwork) ListenUDP(at netip.AddrPort) (net.PacketConn, error) {
	if at.Addr().Is6() && !at.Addr().Is4In6() && !at.Addr().IsUnspecified() {
		return nil, opError("listen", at, syscall.EADDRNOTAVAIL)
	}
	c, err := hostNet(n).listen("udp", net.UDPAddrFromAddrPort(at), nil)
	if err != nil {
		return nil, err // not a nil *udpConn in an interface
	}
	return c, nil
}

func (n hostNetwork) Addrs() ([]netip.Addr, error) {
	return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), n.host.ip}, nil
}

// hostNet is a host's [transport.Net].
type hostNet struct{ host *Host }

func (n hostNet) ListenUDP(network string, local *net.UDPAddr) (transport.UDPConn, error) {
	return n.listen(network, local, nil)
}

func (n hostNet) ListenPacket(network, address string) (net.PacketConn, error) {
	local, err := n.ResolveUDPAddr(network, address)
	if err != nil {
		return nil, err
	}
	return n.listen(network, local, nil)
}

func (n hostNet) DialUDP(network string, local, remote *net.UDPAddr) (transport.UDPConn, error) {
	if remote == nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: &net.AddrError{Err: "missing address"}}
	}
	return n.listen(network, local, remote)
}

func (n hostNet) Dial(network, address string) (net.Conn, error) {
	remote, err := n.ResolveUDPAddr(network, address)
	if err != nil {
		return nil, err
	}
	return n.listen(network, nil, remote)
}

// listen opens a socket, connected if remote is given.
func (n hostNet) listen(network string, local, remote *net.UDPAddr) (*udpConn, error) {
	if err := checkNetwork(network); err != nil {
		return nil, err
	}
	var at netip.AddrPort
	if local != nil {
		at = unmap(local.AddrPort())
	}
	if !at.Addr().IsValid() || at.Addr().IsUnspecified() {
		at = netip.AddrPortFrom(netip.IPv4Unspecified(), at.Port())
	}
	h := n.host
	if ip := at.Addr(); ip != h.ip && !ip.IsLoopback() && !ip.IsUnspecified() {
		return nil, opError("listen", at, syscall.EADDRNOTAVAIL)
	}
	c := newUDPConn(h, remote)
	h.network.mu.Lock()
	defer h.network.mu.Unlock()
	if h.network.closed {
		return nil, opError("listen", at, net.ErrClosed)
	}
	port, ok := h.bindLocked(at.Port(), c)
	if !ok {
		return nil, opError("listen", at, syscall.EADDRINUSE)
	}
	c.local = netip.AddrPortFrom(at.Addr(), port)
	return c, nil
}

// bindLocked gives c the port, or a free one if port is 0.
func (h *Host) bindLocked(port uint16, c *udpConn) (uint16, bool) {
	if port == 0 {
		if port = h.freePortLocked(); port == 0 {
			return 0, false
		}
	}
	if h.ports[port] != nil {
		return 0, false
	}
	h.ports[port] = c
	return port, true
}

// freePortLocked returns the next free port of the dynamic range, 0 if none is.
func (h *Host) freePortLocked() uint16 {
	for range 1<<16 - firstPort {
		if h.lastPort++; h.lastPort < firstPort {
			h.lastPort = firstPort
		}
		if h.ports[h.lastPort] == nil {
			return h.lastPort
		}
	}
	return 0
}

func (n hostNet) ResolveUDPAddr(network, address string) (*net.UDPAddr, error) {
	if err := checkNetwork(network); err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	p, err := net.LookupPort("udp", port)
	if err != nil {
		return nil, err
	}
	ip, err := n.lookup(host)
	return &net.UDPAddr{IP: ip, Port: p}, err
}

func (n hostNet) ResolveIPAddr(network, address string) (*net.IPAddr, error) {
	if strings.HasSuffix(network, "6") {
		return nil, transport.ErrNotSupported
	}
	ip, err := n.lookup(address)
	return &net.IPAddr{IP: ip}, err
}

func (n hostNet) lookup(host string) (net.IP, error) {
	if host == "" {
		return nil, nil // as in ":80": all addresses
	}
	if ip := net.ParseIP(host); ip != nil {
		if ip.To4() == nil && !ip.IsUnspecified() {
			return nil, &net.AddrError{Err: "no IPv4 address", Addr: host}
		}
		return ip, nil
	}
	n.host.network.mu.Lock()
	defer n.host.network.mu.Unlock()
	if h := n.host.network.names[host]; h != nil {
		return h.ip.AsSlice(), nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}

func (n hostNet) Interfaces() ([]*transport.Interface, error) {
	lo := transport.NewInterface(net.Interface{
		Index: 1, MTU: 65536, Name: "lo", Flags: net.FlagUp | net.FlagRunning | net.FlagLoopback,
	})
	lo.AddAddress(&net.IPNet{IP: net.IPv4(127, 0, 0, 1), Mask: net.CIDRMask(8, 32)})
	eth := transport.NewInterface(net.Interface{
		Index: 2, MTU: n.host.network.mtu, Name: "eth0", Flags: net.FlagUp | net.FlagRunning,
	})
	eth.AddAddress(&net.IPNet{IP: n.host.ip.AsSlice(), Mask: net.CIDRMask(8, 32)})
	return []*transport.Interface{lo, eth}, nil
}

func (n hostNet) InterfaceByIndex(index int) (*transport.Interface, error) {
	return n.findInterface(func(i *transport.Interface) bool { return i.Index == index })
}

func (n hostNet) InterfaceByName(name string) (*transport.Interface, error) {
	return n.findInterface(func(i *transport.Interface) bool { return i.Name == name })
}

func (n hostNet) findInterface(is func(*transport.Interface) bool) (*transport.Interface, error) {
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

func (n hostNet) CreateDialer(*net.Dialer) transport.Dialer { return n }

func (n hostNet) CreateListenConfig(*net.ListenConfig) transport.ListenConfig {
	return listenConfig{n}
}

func (hostNet) ListenTCP(string, *net.TCPAddr) (transport.TCPListener, error) {
	return nil, transport.ErrNotSupported
}

func (hostNet) DialTCP(string, *net.TCPAddr, *net.TCPAddr) (transport.TCPConn, error) {
	return nil, transport.ErrNotSupported
}

func (hostNet) ResolveTCPAddr(string, string) (*net.TCPAddr, error) {
	return nil, transport.ErrNotSupported
}

type listenConfig struct{ net hostNet }

func (listenConfig) Listen(context.Context, string, string) (net.Listener, error) {
	return nil, transport.ErrNotSupported
}

func (c listenConfig) ListenPacket(_ context.Context, network, address string) (net.PacketConn, error) {
	return c.net.ListenPacket(network, address)
}

func checkNetwork(network string) error {
	if network == "udp" || network == "udp4" {
		return nil
	}
	return fmt.Errorf("%w: network %q", transport.ErrNotSupported, network)
}

func unmap(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

func opError(op string, at netip.AddrPort, err error) error {
	return &net.OpError{Op: op, Net: "udp", Source: net.UDPAddrFromAddrPort(at), Err: err}
}
