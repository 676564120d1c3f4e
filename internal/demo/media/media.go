// Package media decides where the examples' nodes take media.
package media

import (
	"net/netip"
	"slices"

	"github.com/deltacdn/delta/cdn"
)

// Addresses returns the host that a node binds its UDP port to, and the addresses
// that it offers (for [cdn.Config.PublicIPs]; none: those that it is bound to), if its
// pages are at host. That is host, unless it is a loopback address: Firefox does not
// send media from loopback addresses, so it could not play what runs on its own
// machine. Then the port is bound to all addresses, and the machine's others of the
// family are offered beside host. Pages and signaling stay at host, and without them
// nobody gets a session.
func Addresses(host string, network cdn.Network) (bind string, offered []netip.Addr, err error) {
	ip, err := netip.ParseAddr(host)
	if err != nil || !ip.IsLoopback() {
		return host, nil, nil //nolint:nilerr // a name is for the resolver
	}
	all, err := network.Addrs()
	if err != nil {
		return "", nil, err
	}
	offered = slices.DeleteFunc(slices.Clone(all), func(a netip.Addr) bool {
		return a.Is4() != ip.Is4() || a.IsLoopback() || a.IsLinkLocalUnicast()
	})
	if len(offered) == 0 {
		return host, nil, nil
	}
	return "", append([]netip.Addr{ip}, offered...), nil
}
