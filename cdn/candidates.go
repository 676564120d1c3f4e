package cdn

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"slices"
)

// SetPublicIPs replaces [Config].PublicIPs while the node runs: sessions and links that
// begin from now on are told these addresses, and the node's entry in its Directory is
// renewed with them. Sessions that exist go on where they are. With no address, the
// node offers the addresses of its port again. An address that nobody can send to is
// refused with an error wrapping [ErrInvalid], and nothing changes. It may be called
// concurrently. [KeepPublicHosts] calls it for host names.
func (n *Node) SetPublicIPs(ips []netip.Addr) error {
	err := checkPublicIPs(ips)
	var all reached
	if err == nil {
		all, err = n.transport.candidates(ips)
	}
	if err != nil {
		return &Error{Op: "set public addresses", Err: err}
	}
	n.transport.offer(all)
	n.entryChanged()
	return nil
}

// reached are the addresses under which clients reach a node's ports.
type reached struct{ udp, tcp []net.Addr }

// candidates returns the addresses under which clients reach the ports.
func (t *transportState) candidates(public []netip.Addr) (all reached, err error) {
	if all.udp, err = candidates(t.network, t.port.LocalAddr().(*net.UDPAddr), public); err != nil || t.tcp == nil {
		return all, err
	}
	at := t.tcp.Addr().(*net.TCPAddr)
	same, err := candidates(t.network, &net.UDPAddr{IP: at.IP, Port: at.Port}, public)
	for _, a := range same {
		u := a.(*net.UDPAddr)
		all.tcp = append(all.tcp, &net.TCPAddr{IP: u.IP, Port: u.Port})
	}
	return all, err
}

// offer has sessions that begin from now on be told these addresses.
func (t *transportState) offer(all reached) {
	t.mux.Offer(all.udp)
	t.passive.Store(&all.tcp)
}

func checkPublicIPs(ips []netip.Addr) error {
	for _, ip := range ips {
		if !ip.IsValid() || ip.IsUnspecified() || ip.IsMulticast() {
			return fmt.Errorf("%w: public address %v", ErrInvalid, ip)
		}
	}
	return nil
}

// candidates returns the addresses under which clients reach the port. There are
// clients that try only the first one (FFmpeg's WHIP muxer), so it is one that most
// can reach: loopback addresses come last, IPv4 ahead of IPv6.
func candidates(network Network, local *net.UDPAddr, public []netip.Addr) ([]net.Addr, error) {
	var all []net.Addr
	add := func(ip net.IP) { all = append(all, &net.UDPAddr{IP: ip, Port: local.Port}) }
	if len(public) > 0 {
		for _, ip := range public {
			add(ip.Unmap().AsSlice())
		}
		return all, nil
	}
	if !local.IP.IsUnspecified() && local.IP != nil {
		add(local.IP)
		return all, nil
	}
	addrs, err := network.Addrs()
	if err != nil {
		return nil, err
	}
	addrs = slices.SortedStableFunc(slices.Values(addrs), func(a, b netip.Addr) int { return cmp.Compare(reach(a), reach(b)) })
	for _, ip := range addrs {
		if !ip.IsLinkLocalUnicast() {
			add(ip.Unmap().AsSlice())
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%w: no address to be reached at", ErrInvalid)
	}
	return all, nil
}

// reach orders addresses by how few clients reach them.
func reach(ip netip.Addr) (rank int) {
	ip = ip.Unmap()
	if ip.IsLoopback() {
		rank += 2
	}
	if !ip.Is4() {
		rank++
	}
	return rank
}
