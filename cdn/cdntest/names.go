package cdntest

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"sync"

	"github.com/deltacdn/delta/cdn"
)

// Names is a [cdn.Resolver] whose records a test sets, for [cdn.DNSConfig]. It has none
// at first: every name is unknown. The zero value is ready to use; its methods may be
// called concurrently, also while names are looked up.
type Names struct {
	mu      sync.Mutex
	hosts   map[string][]netip.Addr
	srv     map[string][]net.SRV
	err     error
	hangs   bool
	lookups int
}

var _ cdn.Resolver = (*Names)(nil)

// Set gives a host addresses, in place of those that it had; without any there is no
// such host.
func (n *Names) Set(host string, addrs ...netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.hosts == nil {
		n.hosts = map[string][]netip.Addr{}
	}
	n.hosts[host] = slices.Clone(addrs)
}

// SetSRV gives a name SRV records, in place of those that it had; without any there is
// no such name.
func (n *Names) SetSRV(name string, records ...net.SRV) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.srv == nil {
		n.srv = map[string][]net.SRV{}
	}
	n.srv[name] = slices.Clone(records)
}

// Fail has all lookups fail with err, as those of a resolver without a server do; nil
// has them answered again.
func (n *Names) Fail(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.err = err
}

// Hang has lookups that begin from now on wait for the end of their context, or no
// longer.
func (n *Names) Hang(yes bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hangs = yes
}

// Lookups returns how many lookups there were. One of a host's addresses counts once
// for IPv4 and once for IPv6.
func (n *Names) Lookups() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.lookups
}

// LookupNetIP implements [cdn.Resolver].
func (n *Names) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	if err := n.enter(ctx, host); err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	var all []netip.Addr
	for _, a := range n.hosts[host] {
		if network == "ip" || (network == "ip4") == a.Unmap().Is4() {
			all = append(all, a)
		}
	}
	if len(all) == 0 {
		return nil, noSuchHost(host)
	}
	return all, nil
}

// LookupSRV implements [cdn.Resolver].
func (n *Names) LookupSRV(ctx context.Context, service, proto, name string) (string, []*net.SRV, error) {
	if service != "" || proto != "" {
		name = "_" + service + "._" + proto + "." + name
	}
	if err := n.enter(ctx, name); err != nil {
		return "", nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	var all []*net.SRV
	for _, r := range n.srv[name] {
		all = append(all, &r)
	}
	if len(all) == 0 {
		return "", nil, noSuchHost(name)
	}
	return name, all, nil
}

// enter counts a lookup, and has it fail or hang.
func (n *Names) enter(ctx context.Context, name string) error {
	n.mu.Lock()
	n.lookups++
	err, hangs := n.err, n.hangs
	n.mu.Unlock()
	if hangs {
		<-ctx.Done()
		return &net.DNSError{Err: ctx.Err().Error(), Name: name, IsTimeout: true}
	}
	return err
}

func noSuchHost(name string) error {
	return &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}
