package cdn

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/deltacdn/delta/internal/trouble/seldom"
)

// A Resolver looks up names. [net.Resolver] is one. Its methods are called
// concurrently, and return when ctx ends. Errors that are a [net.DNSError] with
// IsNotFound say that there is no such record; all others, that it is not known.
type Resolver interface {
	// LookupNetIP returns the addresses of a host. network is "ip4" or "ip6".
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
	// LookupSRV returns the SRV records of name; service and proto are empty.
	LookupSRV(ctx context.Context, service, proto, name string) (cname string, records []*net.SRV, err error)
}

// DNSConfig sets up a [DNS].
type DNSConfig struct {
	// Names are where the network is entered, the preferred ones first. Required.
	//
	// "https://edge.example.com" stands for one point of entry at each address (A and
	// AAAA) of that name: several nodes may share it. A port and a path may follow,
	// as in [Static].
	//
	// "https://_delta._tcp.example.com" stands for the hosts and ports of its SRV
	// records (RFC 2782): those of the least priority come first, those of equal
	// priority in an order that agrees with their weights and differs from process to
	// process. It has no port of its own. A path is that of all.
	//
	// Without "https://" or another scheme a name stands for https. An IP address in
	// place of a name is not looked up.
	Names []string
	// Resolver looks the names up. If nil, [net.DefaultResolver].
	Resolver Resolver
	// Refresh is how old an answer gets before the name is looked up again, give or
	// take a tenth: resolvers do not tell how long an answer is good for. If zero,
	// 30 s; at least 1 s. After a failure it is tried sooner, at delays that double up
	// to Refresh.
	Refresh time.Duration
	// MaxStale is how old an answer may get while the resolver fails, or says that
	// there is no such name. If zero, 24 h.
	MaxStale time.Duration
	// Timeout bounds one lookup. If zero, 5 s.
	Timeout time.Duration
	// Limit is how many points of entry there are at most; what the names say beyond
	// that is left out. A relay keeps a link with each. If zero, 16.
	Limit int
	// Logger is told when a name can no longer be looked up, and when it can again. If
	// nil, nothing is logged.
	Logger *slog.Logger
}

// DNS is a [NodeDirectory] that answers, whatever the stream, with the nodes that names
// stand for: points of entry that may change while nodes run. As with [Static], whether
// a node has the stream turns out when it is asked, and what is put is forgotten.
//
// The URL of an entry keeps the name, for TLS to verify and for reverse proxies to
// see; [Entry].At is the address to ask. The hosts of SRV records are verified by
// their own names: whoever can forge the records can name hosts of their own, so nodes
// should know each other by more ([Trust]).
//
// Names are looked up while the directory is in use, and never without: a question
// that comes when an answer has become old is answered from it at once, and has the
// name looked up beside. Only the first one waits. If the resolver fails, or there is
// no such name any more, the last answer stands ([DNSConfig].MaxStale); an answer that
// leaves out some of the addresses counts at once. IPv4 and IPv6 addresses are looked
// up apart: if one of the two fails, its last answer stands.
//
// The owner closes it. Methods may be called concurrently.
type DNS struct {
	// static
	config DNSConfig
	seed   maphash.Seed // of this process's order among equals
	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup                       // lookups
	looked func(n *dnsName, had int, err error) // logs what a lookup has brought; called with mu held

	wrong seldom.Pacer[string]

	mu      sync.Mutex // innermost, but for wrong's
	closed  bool
	names   []*dnsName
	changed chan struct{} // closed, and replaced, when a lookup has ended
}

var _ NodeDirectory = (*DNS)(nil)

// NewDNS returns the directory of what the names stand for. It looks nothing up yet. It
// fails with an error wrapping [ErrInvalid] where a name is none, or there is none.
func NewDNS(c DNSConfig) (*DNS, error) {
	if c.Resolver == nil {
		c.Resolver = net.DefaultResolver
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	setDefault(&c.Refresh, 30*time.Second)
	c.Refresh = max(c.Refresh, time.Second)
	setDefault(&c.MaxStale, 24*time.Hour)
	setDefault(&c.Timeout, 5*time.Second)
	setDefault(&c.Limit, 16)
	d := &DNS{config: c, seed: maphash.MakeSeed(), changed: make(chan struct{})}
	for _, s := range c.Names {
		n, err := newDNSName(s, c.Refresh)
		if err != nil {
			return nil, &Error{Op: "new DNS directory", Err: err}
		}
		d.names = append(d.names, n)
	}
	if len(d.names) == 0 {
		return nil, &Error{Op: "new DNS directory", Err: fmt.Errorf("%w: no name", ErrInvalid)}
	}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	d.looked = d.logLooked
	return d, nil
}

// Close ends the lookups that run, and waits for them. Questions fail with [ErrClosed]
// from then on. It is idempotent.
func (d *DNS) Close() error {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	d.cancel()
	d.work.Wait()
	return nil
}

// Put implements [Directory]: it succeeds, and e is forgotten.
func (d *DNS) Put(ctx context.Context, _ Entry, _ time.Duration) error { return ctx.Err() }

// Remove implements [Directory]: it succeeds.
func (d *DNS) Remove(ctx context.Context, _ Entry) error { return ctx.Err() }

// PutNode implements [NodeDirectory]: it succeeds, and n is forgotten.
func (d *DNS) PutNode(ctx context.Context, _ NodeEntry, _ time.Duration) error { return ctx.Err() }

// RemoveNode implements [NodeDirectory]: it succeeds.
func (d *DNS) RemoveNode(ctx context.Context, _ NodeID) error { return ctx.Err() }

// Find implements [Directory]: it returns all points of entry. It fails where none is
// known, with the reason of each name.
func (d *DNS) Find(ctx context.Context, id StreamID) ([]Entry, error) {
	points, err := d.points(ctx)
	if err != nil {
		return nil, &Error{Op: "find", Stream: id, Err: err}
	}
	entries := make([]Entry, len(points))
	for i, p := range points {
		entries[i] = Entry{Stream: id, URL: p.url, At: p.at}
	}
	return entries, nil
}

// Nodes implements [NodeDirectory]: it returns all points of entry, of which only the
// place is known, in their order. It fails as Find does.
func (d *DNS) Nodes(ctx context.Context) ([]NodeEntry, error) {
	points, err := d.points(ctx)
	if err != nil {
		return nil, &Error{Op: "find nodes", Err: err}
	}
	nodes := make([]NodeEntry, len(points))
	for i, p := range points {
		nodes[i] = NodeEntry{URL: p.url, At: p.at}
	}
	return nodes, nil
}

// A dnsPoint is one point of entry.
type dnsPoint struct {
	url string
	at  netip.Addr
}

// dnsGrace is how long a question waits for names that are looked up for the first
// time, if others are known.
const dnsGrace = 100 * time.Millisecond

// points returns the points of entry, and has what is old looked up.
func (d *DNS) points(ctx context.Context) ([]dnsPoint, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	d.refresh()
	var enough <-chan time.Time
	for {
		d.mu.Lock()
		points, err := d.pointsLocked(time.Now())
		awaited, changed := d.awaitedLocked(time.Now()), d.changed
		d.mu.Unlock()
		if !awaited {
			return points, err
		}
		if err == nil && enough == nil {
			timer := time.NewTimer(dnsGrace)
			defer timer.Stop()
			enough = timer.C
		}
		select {
		case <-changed:
			continue
		case <-enough:
		case <-ctx.Done():
			if err != nil {
				err = ctx.Err()
			}
		}
		return points, err
	}
}

// refresh begins to look up the names that are due.
func (d *DNS) refresh() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return
	}
	now := time.Now()
	for _, n := range d.names {
		if n.literal || n.looking || now.Before(n.due) {
			continue
		}
		n.looking = true
		last := n.answer
		d.work.Go(func() { d.look(n, last) })
	}
}

// look looks a name up. last is what is known of it.
func (d *DNS) look(n *dnsName, last dnsAnswer) {
	began := time.Now()
	answer, err := d.resolve(n, last)
	d.mu.Lock()
	defer d.mu.Unlock()
	n.looking = false
	close(d.changed)
	d.changed = make(chan struct{})
	if d.ctx.Err() != nil {
		return // closed: that is why it failed
	}
	now := time.Now()
	had, has := n.points, len(answer.points(n, now, d.config.MaxStale))
	n.answer, n.points, n.err, n.tried = answer, has, err, true
	d.looked(n, had, err)
	n.due = n.pace.next(began, now, err == nil)
}

// logLooked logs what a lookup of a point of entry has brought, which stood for had
// places after the one before. It is called with mu held.
func (d *DNS) logLooked(n *dnsName, had int, err error) {
	now, log := time.Now(), d.config.Logger.With("name", n.text, "known", n.points)
	if err == nil {
		if t, due := d.wrong.Well(now, n.text); due {
			log.Info("a point of entry can be looked up again", "after", t.For.Round(time.Second))
		}
		return
	}
	t, due := d.wrong.Wrong(now, n.text)
	switch {
	case had > 0 && n.points == 0:
		log.Warn("what was known of a point of entry is too old", "err", err)
	case due:
		log.Warn("a point of entry cannot be looked up", "cause", causeOf(err),
			"do", "Check the name, and this machine's DNS server: getent hosts NAME.", "for", t.For.Round(time.Second), "err", err)
	}
}

// causeOf returns the word for why a name cannot be looked up, as it stands in
// docs/troubleshooting.md.
func causeOf(err error) string {
	if isNone(err) {
		return "name-not-found"
	}
	return "dns-fails"
}

// next returns a channel that is closed when a lookup ends, and when the next name is
// due, zero if all are being looked up.
func (d *DNS) next() (changed <-chan struct{}, due time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, n := range d.names {
		if !n.literal && !n.looking && (due.IsZero() || n.due.Before(due)) {
			due = n.due
		}
	}
	return d.changed, due
}

// awaitedLocked reports whether names are being looked up of which nothing is known,
// not even that they cannot be, or nothing recent.
func (d *DNS) awaitedLocked(now time.Time) bool {
	if d.closed {
		return false
	}
	for _, n := range d.names {
		if n.looking && (!n.tried || n.err == nil && now.Sub(n.due) > d.config.Refresh) {
			return true
		}
	}
	return false
}

// pointsLocked returns what is known now, or why nothing is.
func (d *DNS) pointsLocked(now time.Time) (all []dnsPoint, err error) {
	if d.closed {
		return nil, ErrClosed
	}
	var errs []error
	seen := make(map[dnsPoint]bool)
	for _, n := range d.names {
		if n.err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", n.text, n.err))
		}
		for _, p := range n.answer.points(n, now, d.config.MaxStale) {
			if !seen[p] && len(all) < d.config.Limit {
				seen[p] = true
				all = append(all, p)
			}
		}
	}
	if len(all) > 0 {
		return all, nil
	}
	return nil, errors.Join(append(errs, errNothingKnown)...)
}

// errNothingKnown is why there is no point of entry, beside the reasons of the names.
var errNothingKnown = fmt.Errorf("%w: no point of entry is known", ErrPeerLost)
