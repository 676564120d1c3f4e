package cdn

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"math"
	"math/rand/v2"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A dnsName is one of [DNSConfig].Names, and what is known of it.
type dnsName struct {
	// static
	text    string // for logs: without a password
	url     url.URL
	host    string // that is looked up
	srv     bool
	literal bool // host is an address

	// guarded by DNS.mu
	answer  dnsAnswer
	points  int   // that it stood for after the last lookup
	err     error // of the last lookup
	tried   bool  // one has ended
	looking bool  // one runs
	due     time.Time
	pace    *pace
}

// A dnsAnswer is what is known of a name. It is not changed once it is in place.
type dnsAnswer struct {
	targets []dnsTarget
	named   time.Time // when the SRV records were looked up
}

// A dnsTarget is a host, and its addresses.
type dnsTarget struct {
	url, host string
	families  [2]dnsAddrs // IPv4, IPv6
}

type dnsAddrs struct {
	addrs []netip.Addr
	at    time.Time // when they were looked up
}

func newDNSName(s string, refresh time.Duration) (*dnsName, error) {
	if !strings.Contains(s, "://") {
		s = "https://" + s
	}
	base, err := baseURL(s)
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(base)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	n := &dnsName{
		text: u.Redacted(), url: *u, host: u.Hostname(), srv: strings.HasPrefix(u.Host, "_"),
		pace: newPace(3*refresh, rand.Float64),
	}
	_, err = netip.ParseAddr(n.host)
	n.literal = err == nil
	switch {
	case n.srv && u.Port() != "":
		return nil, fmt.Errorf("%w: %q names SRV records, which have ports of their own", ErrInvalid, n.text)
	case !n.literal && !isHostName(n.host):
		return nil, fmt.Errorf("%w: %q is no name of a host in letters, digits and hyphens", ErrInvalid, n.text)
	}
	return n, nil
}

// isHostName reports whether s can be the name of a host, and nothing else: it becomes
// part of a URL.
func isHostName(s string) bool {
	s = strings.TrimSuffix(s, ".")
	if s == "" || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 {
			return false
		}
		for _, c := range []byte(label) {
			switch {
			case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_':
			default:
				return false
			}
		}
	}
	_, err := netip.ParseAddr(s)
	return err != nil
}

// points returns the points of entry that an answer of n stands for.
func (a dnsAnswer) points(n *dnsName, now time.Time, maxStale time.Duration) (all []dnsPoint) {
	if n.literal {
		return []dnsPoint{{url: n.url.String()}}
	}
	if n.srv && now.Sub(a.named) > maxStale {
		return nil
	}
	for _, t := range a.targets {
		for _, f := range t.families {
			if now.Sub(f.at) > maxStale {
				continue
			}
			for _, at := range f.addrs {
				all = append(all, dnsPoint{t.url, at})
			}
		}
	}
	return all
}

// resolve looks a name up. What it does not get stays as it was last, and the error says
// why.
func (d *DNS) resolve(n *dnsName, last dnsAnswer) (dnsAnswer, error) {
	answer := last
	var failed error
	switch {
	case n.srv:
		targets, err := d.lookupSRV(n)
		if err != nil {
			failed = err
			break
		}
		for i, t := range targets {
			if j := slices.IndexFunc(last.targets, func(l dnsTarget) bool { return l.url == t.url }); j >= 0 {
				targets[i] = last.targets[j]
			}
		}
		answer = dnsAnswer{targets: targets, named: time.Now()}
	case len(last.targets) == 0:
		answer.targets = []dnsTarget{{url: n.url.String(), host: n.host}}
	}
	targets := slices.Clone(answer.targets)
	errs := make([]error, len(targets))
	var wg sync.WaitGroup
	for i := range targets {
		wg.Go(func() { targets[i], errs[i] = d.lookupHost(targets[i]) })
	}
	wg.Wait()
	answer.targets = targets
	for _, err := range errs {
		if failed == nil {
			failed = err
		}
	}
	return answer, failed
}

// lookupSRV returns the targets of a name's SRV records, in order.
func (d *DNS) lookupSRV(n *dnsName) ([]dnsTarget, error) {
	ctx, cancel := context.WithTimeout(d.ctx, d.config.Timeout)
	defer cancel()
	_, records, err := d.config.Resolver.LookupSRV(ctx, "", "", n.host)
	// Where some of the records are no good, the others come with an error.
	records = slices.DeleteFunc(slices.Clone(records), func(r *net.SRV) bool {
		return r == nil || r.Port == 0 || !isHostName(r.Target)
	})
	if len(records) == 0 {
		return nil, orNone(err, n.host)
	}
	slices.SortStableFunc(records, func(a, b *net.SRV) int {
		return cmp.Or(cmp.Compare(a.Priority, b.Priority), cmp.Compare(d.wait(a), d.wait(b)))
	})
	var targets []dnsTarget
	for _, r := range records {
		host, u := strings.TrimSuffix(r.Target, "."), n.url
		u.Host = net.JoinHostPort(host, strconv.Itoa(int(r.Port)))
		t := dnsTarget{url: u.String(), host: host}
		if !slices.ContainsFunc(targets, func(o dnsTarget) bool { return o.url == t.url }) && len(targets) < d.config.Limit {
			targets = append(targets, t)
		}
	}
	return targets, nil
}

// wait returns a random number for a record, of an exponential distribution with its
// weight as the rate: the least of several is each one's as often as its weight says.
// It is always the same in one process.
func (d *DNS) wait(r *net.SRV) float64 {
	const seldom = 0.01 // where others have a weight, a record without one comes first so seldom
	type key struct {
		target string
		port   uint16
	}
	share := (float64(maphash.Comparable(d.seed, key{r.Target, r.Port})>>11) + 1) / (1 << 53) // over 0, up to 1
	return -math.Log(share) / max(float64(r.Weight), seldom)
}

// lookupHost looks up the addresses of a target.
func (d *DNS) lookupHost(t dnsTarget) (dnsTarget, error) {
	var found [len(t.families)][]netip.Addr
	var errs [len(t.families)]error
	var wg sync.WaitGroup
	for i, network := range [...]string{"ip4", "ip6"} {
		wg.Go(func() { found[i], errs[i] = d.lookupAddrs(network, t.host) })
	}
	wg.Wait()
	var failed error
	now, positive := time.Now(), len(found[0])+len(found[1]) > 0
	for i := range found {
		switch last := t.families[i]; {
		case len(found[i]) > 0:
			t.families[i] = dnsAddrs{found[i], now}
		case positive && isNone(errs[i]):
			t.families[i] = dnsAddrs{}
		case failed == nil && (!positive || len(last.addrs) > 0): // otherwise there is what has to be known
			failed = errs[i]
		}
	}
	return t, failed
}

// lookupAddrs returns addresses of one family: some, or an error.
func (d *DNS) lookupAddrs(network, host string) ([]netip.Addr, error) {
	ctx, cancel := context.WithTimeout(d.ctx, d.config.Timeout)
	defer cancel()
	found, err := d.config.Resolver.LookupNetIP(ctx, network, host)
	var all []netip.Addr
	for _, a := range found {
		a = a.Unmap()
		if a.IsValid() && !a.IsUnspecified() && !a.IsMulticast() && a.Zone() == "" && a.Is4() == (network == "ip4") {
			all = append(all, a)
		}
	}
	if len(all) == 0 {
		return nil, orNone(err, host)
	}
	// In an order that stays, and is another in each process.
	slices.SortFunc(all, func(a, b netip.Addr) int {
		return cmp.Or(cmp.Compare(maphash.Comparable(d.seed, a), maphash.Comparable(d.seed, b)), a.Compare(b))
	})
	all = slices.Compact(all)
	return slices.Clone(all[:min(len(all), d.config.Limit)]), nil
}

// orNone returns err, or that a name has no record that is any use.
func orNone(err error, name string) error {
	if err == nil {
		err = &net.DNSError{Err: "no usable record", Name: name, IsNotFound: true}
	}
	return err
}

// isNone reports whether err says that there is no such record.
func isNone(err error) bool {
	var e *net.DNSError
	return errors.As(err, &e) && e.IsNotFound
}
