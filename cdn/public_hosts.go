package cdn

import (
	"context"
	"fmt"
	"math"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/deltacdn/delta/internal/trouble/seldom"
)

// PublicHostsConfig sets up [KeepPublicHosts].
type PublicHostsConfig struct {
	// Hosts are the host names and IP addresses that clients reach the node at, the
	// preferred ones first. Required. A name stands for all its A and AAAA records, as
	// far as the node's port has addresses of that family.
	Hosts []string
	// Resolver looks the names up. If nil, [net.DefaultResolver].
	Resolver Resolver
	// Refresh is how often the names are looked up, give or take a tenth. If zero,
	// 30 s; at least 1 s. After a failure it is tried sooner, at delays that double up
	// to Refresh.
	Refresh time.Duration
	// Timeout bounds one lookup. If zero, 5 s.
	Timeout time.Duration
}

// maxPublic bounds the public addresses of a node: other nodes take no more of them.
const maxPublic = 16

// PublicHosts keeps a node's public addresses as DNS has them. The node owns it.
type PublicHosts struct {
	// static
	node   *Node
	hosts  []publicHost
	names  *DNS // nil: there are only addresses
	cancel context.CancelFunc
	work   sync.WaitGroup
	wrong  seldom.Pacer[string]

	mu      sync.Mutex
	current []netip.Addr
}

// A publicHost is an address, or a name.
type publicHost struct {
	ip   netip.Addr
	name *dnsName
}

// KeepPublicHosts looks up the hosts' names, has the node offer what it finds
// ([Node.SetPublicIPs]), and keeps that up to date until it is closed, at the latest by
// the node. It waits for the first answers, no longer than Timeout and no longer than
// ctx. While nothing is known of any host, the node offers the addresses that it had;
// while DNS does not answer, or has no such name any more, those of the last answer.
// Both are logged as warnings, the first time at once and then seldom. It fails, with an
// error wrapping [ErrInvalid], where a host is neither a name nor an address, or there is
// none.
func KeepPublicHosts(ctx context.Context, n *Node, c PublicHostsConfig) (*PublicHosts, error) {
	p := &PublicHosts{node: n}
	if err := p.parse(c); err != nil {
		return nil, &Error{Op: "public hosts", Err: err}
	}
	if p.names != nil {
		first, cancel := context.WithTimeout(ctx, p.names.config.Timeout)
		_, _ = p.names.points(first) // its failure is logged, and tried again
		cancel()
	}
	p.offer()
	keep, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	if p.names != nil {
		p.work.Go(func() { p.run(keep) })
	}
	n.Own(p)
	return p, nil
}

// ParsePublicHost returns an error wrapping [ErrInvalid] where host is neither the name
// of a host nor an IP address that clients can send to.
func ParsePublicHost(host string) error {
	ip, err := netip.ParseAddr(host)
	switch {
	case err == nil:
		return checkPublicIPs([]netip.Addr{ip})
	case !isHostName(host) || strings.HasPrefix(host, "_"):
		return fmt.Errorf("%w: public host %.100q is neither the name of a host nor an IP address", ErrInvalid, host)
	}
	return nil
}

func (p *PublicHosts) parse(c PublicHostsConfig) error {
	var names []string
	for _, h := range c.Hosts {
		if err := ParsePublicHost(h); err != nil {
			return err
		}
		ip, err := netip.ParseAddr(h)
		p.hosts = append(p.hosts, publicHost{ip: ip})
		if err != nil {
			names = append(names, h)
		}
	}
	if len(p.hosts) == 0 {
		return fmt.Errorf("%w: no public host", ErrInvalid)
	}
	if len(names) == 0 {
		return nil
	}
	var err error
	p.names, err = NewDNS(DNSConfig{
		Names: names, Resolver: c.Resolver, Refresh: c.Refresh, Timeout: c.Timeout, Limit: maxPublic, MaxStale: math.MaxInt64,
	})
	if err != nil {
		return err
	}
	p.names.looked = p.tell
	next := 0
	for i := range p.hosts {
		if !p.hosts[i].ip.IsValid() {
			p.hosts[i].name = p.names.names[next]
			next++
		}
	}
	return nil
}

// Addrs returns the addresses that the hosts stand for now, none while none is known.
func (p *PublicHosts) Addrs() []netip.Addr {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.current)
}

// Close stops looking the names up; the node keeps the addresses that it has. It is
// idempotent.
func (p *PublicHosts) Close() error {
	p.cancel()
	if p.names != nil {
		_ = p.names.Close() // it has no way to fail
	}
	p.work.Wait()
	return nil
}

// run looks the names up when they are due.
func (p *PublicHosts) run(ctx context.Context) {
	for {
		p.names.refresh()
		changed, due := p.names.next()
		p.offer()
		var timer <-chan time.Time
		if !due.IsZero() {
			timer = time.After(time.Until(due))
		}
		select {
		case <-changed:
		case <-timer:
		case <-ctx.Done():
			return
		}
	}
}

// offer has the node offer what is known now.
func (p *PublicHosts) offer() {
	found := p.found()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(found) == 0 || slices.Equal(found, p.current) {
		return
	}
	if err := p.node.SetPublicIPs(found); err != nil {
		p.node.log.Warn("public addresses are refused", "addrs", found, "err", err)
		return
	}
	if p.current != nil {
		p.node.log.Info("public addresses have changed", "addrs", found, "were", p.current)
	}
	p.current = found
}

// found returns the addresses of all hosts, in order.
func (p *PublicHosts) found() (all []netip.Addr) {
	add := func(ip netip.Addr) {
		if ip = ip.Unmap(); len(all) < maxPublic && !slices.Contains(all, ip) {
			all = append(all, ip)
		}
	}
	if p.names != nil {
		p.names.mu.Lock()
		defer p.names.mu.Unlock()
	}
	now, bound := time.Now(), p.node.Addr().(*net.UDPAddr).AddrPort().Addr()
	for _, h := range p.hosts {
		if h.name == nil {
			add(h.ip)
			continue
		}
		points := h.name.answer.points(h.name, now, p.names.config.MaxStale)
		slices.SortStableFunc(points, func(a, b dnsPoint) int { // in an order that is the same in every process
			if a.at.Is4() != b.at.Is4() {
				return reach(a.at) - reach(b.at)
			}
			return a.at.Compare(b.at)
		})
		for _, point := range points {
			if listens(bound, point.at) {
				add(point.at)
			}
		}
	}
	return all
}

// listens reports whether a port at bound can be reached at an address of ip's family.
func listens(bound, ip netip.Addr) bool {
	if bound == netip.IPv6Unspecified() || !bound.IsValid() {
		return true
	}
	return bound.Unmap().Is4() == ip.Is4()
}

// tell logs what a lookup has brought.
func (p *PublicHosts) tell(n *dnsName, _ int, err error) {
	now := time.Now()
	log := p.node.log.With("host", n.host, "known", n.points)
	if err == nil {
		if t, due := p.wrong.Well(now, n.host); due {
			log.Info("public host name can be looked up again", "after", t.For.Round(time.Second))
		}
		p.tellLoopback(n, now)
		return
	}
	if t, due := p.wrong.Wrong(now, n.host); due {
		log.Warn("A public host name cannot be looked up: clients are told what is known of it.", "cause", "public-name-not-found",
			"do", "Check the name, and this machine's DNS server: getent hosts NAME.", "for", t.For.Round(time.Second), "err", err)
	}
}

// tellLoopback logs that a name stands for this machine alone, as a machine's own name
// often does in its /etc/hosts.
func (p *PublicHosts) tellLoopback(n *dnsName, now time.Time) {
	if strings.EqualFold(n.host, "localhost") {
		return
	}
	for _, point := range n.answer.points(n, now, p.names.config.MaxStale) {
		if !point.at.IsLoopback() {
			continue
		}
		if _, due := p.wrong.Wrong(now, "loopback "+n.host); due {
			p.node.log.Warn("A public host name stands for a loopback address: only clients on this machine reach it.", "cause", "public-name-loopback",
				"do", "Look into /etc/hosts, or give the IP address.", "host", n.host, "addr", point.at)
		}
	}
}
