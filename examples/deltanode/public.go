package main

import (
	"net/netip"

	"github.com/deltacdn/delta/cdn"
)

// publicIPs returns the addresses among the public ones that need not be resolved.
func (n *node) publicIPs() (all []netip.Addr) {
	for _, text := range n.config.Media.Public {
		if ip, err := netip.ParseAddr(text); err == nil {
			all = append(all, ip)
		}
	}
	return all
}

// resolvePublic has the node offer the addresses of its public names, now and when they
// change.
func (n *node) resolvePublic() error {
	m := n.config.Media
	if len(m.Public) == len(n.publicIPs()) {
		return nil
	}
	_, err := cdn.KeepPublicHosts(n.closed, n.node, cdn.PublicHostsConfig{Hosts: m.Public, Refresh: m.Refresh})
	return err
}
