package cdn

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/deltacdn/delta/internal/jitter"
)

// A nodeAnnouncer keeps a node's own entry in a [NodeDirectory] by renewing its lease.
// A directory that fails or stalls delays the announcement and nothing else.
type nodeAnnouncer struct {
	// static
	dir    NodeDirectory
	log    *slog.Logger
	ttl    time.Duration
	random func() float64   // in [0, 1)
	entry  func() NodeEntry // returns the present entry
	ctx    context.Context
	cancel context.CancelFunc
	done   chan struct{}
	// changed holds one item after a change that cannot wait for the next renewal.
	changed chan struct{}
}

// newNodeAnnouncer begins to announce. The caller must close it.
func newNodeAnnouncer(dir NodeDirectory, log *slog.Logger, ttl time.Duration, random func() float64, entry func() NodeEntry) *nodeAnnouncer {
	a := &nodeAnnouncer{dir: dir, log: log, ttl: ttl, random: random, entry: entry, done: make(chan struct{}), changed: make(chan struct{}, 1)}
	a.ctx, a.cancel = context.WithCancel(context.Background())
	go a.run()
	return a
}

// change has the entry announced again soon.
func (a *nodeAnnouncer) change() {
	select {
	case a.changed <- struct{}{}:
	default:
	}
}

// close withdraws the entry and waits until that is done: at most removeTimeout if the
// directory respects its contexts. It is idempotent.
func (a *nodeAnnouncer) close() {
	a.cancel()
	<-a.done
}

// changesApart is the least time between two announcements.
const changesApart = 250 * time.Millisecond

func (a *nodeAnnouncer) run() {
	defer close(a.done)
	pace := newPace(a.ttl, a.random)
	var put NodeID
	for a.ctx.Err() == nil {
		began, e := time.Now(), a.entry()
		err := a.put(e)
		if a.ctx.Err() != nil {
			put = e.Node // it may have been
			break
		}
		switch {
		case err != nil && !pace.failing():
			a.log.Warn("announcing this node failed", "err", err)
		case err == nil && pace.failing():
			a.log.Info("this node is announced again")
		}
		if err == nil {
			put = e.Node
		}
		a.sleep(began, pace.next(began, time.Now(), err == nil))
	}
	if put != "" {
		a.withdraw(put)
	}
}

func (a *nodeAnnouncer) put(e NodeEntry) error {
	ctx, cancel := context.WithTimeout(a.ctx, a.ttl/3)
	defer cancel()
	return a.dir.PutNode(ctx, e, a.ttl)
}

func (a *nodeAnnouncer) withdraw(id NodeID) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(a.ctx), removeTimeout)
	defer cancel()
	if err := a.dir.RemoveNode(ctx, id); err != nil {
		a.log.Warn("this node's announcement is left to expire", "err", err)
	}
}

// sleep returns at until, after a change but not sooner than changesApart after began, or
// when the announcer is closed.
func (a *nodeAnnouncer) sleep(began, until time.Time) {
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case <-a.ctx.Done():
		return
	case <-timer.C:
		return
	case <-a.changed:
	}
	timer.Reset(max(time.Until(began.Add(changesApart)), 0))
	select {
	case <-a.ctx.Done():
	case <-timer.C:
	}
}

// presence is what a node announces of itself.
type presence struct {
	mu        sync.Mutex // taken ahead of no other
	roles     Roles
	origins   func() []OriginLatency // nil: nobody measures
	announcer *nodeAnnouncer         // nil while there is nothing to announce
	closed    bool
	full      atomic.Bool // whether the node was full when noteLoad was last called
}

// Serve adds a role to the node's. If the node's Directory is a [NodeDirectory], the node
// is announced in it from now on, until it is closed. Services call it.
func (n *Node) Serve(r Roles) {
	p := &n.presence
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.roles.Has(r) {
		return
	}
	p.roles |= r
	dir, ok := n.config.Directory.(NodeDirectory)
	switch {
	case !ok || n.config.URL == "":
	case p.announcer == nil:
		p.announcer = newNodeAnnouncer(dir, n.log, n.config.Lease, jitter.New(string(n.config.ID)).Float64, n.Entry)
	default:
		p.announcer.change()
	}
}

// noteLoad has the node's entry announced again if the node has become full or is no
// longer full: other nodes must know that ahead of the next renewal.
func (n *Node) noteLoad() {
	if full := n.Load() >= 1; n.presence.full.Swap(full) != full {
		n.entryChanged()
	}
}

// Roles returns the roles that the node's services have.
func (n *Node) Roles() Roles {
	n.presence.mu.Lock()
	defer n.presence.mu.Unlock()
	return n.presence.roles
}

// MeasureOrigins sets the function that returns the latencies to origins, which the node
// announces. f must not block. The caller has the entry announced again when they have
// changed.
func (n *Node) MeasureOrigins(f func() []OriginLatency) {
	n.presence.mu.Lock()
	defer n.presence.mu.Unlock()
	n.presence.origins = f
}

// entryChanged has the node's entry announced again soon.
func (n *Node) entryChanged() {
	n.presence.mu.Lock()
	defer n.presence.mu.Unlock()
	if n.presence.announcer != nil {
		n.presence.announcer.change()
	}
}

// Entry returns the node's present entry.
func (n *Node) Entry() NodeEntry {
	e := NodeEntry{Node: n.config.ID, URL: n.config.URL, Group: n.config.Group, Load: n.Load(), Draining: n.Draining()}
	for _, a := range n.transport.mux.GetListenAddresses() {
		if udp, ok := a.(*net.UDPAddr); ok {
			at := udp.AddrPort()
			e.Addrs = append(e.Addrs, netip.AddrPortFrom(at.Addr().Unmap(), at.Port()))
		}
	}
	n.presence.mu.Lock()
	e.Roles = n.presence.roles
	origins := n.presence.origins
	n.presence.mu.Unlock()
	if origins != nil {
		e.Origins = origins()
		e.Origins = e.Origins[:min(len(e.Origins), MaxOrigins)]
	}
	return e
}

func (p *presence) close() {
	p.mu.Lock()
	a := p.announcer
	p.closed = true
	p.mu.Unlock()
	if a != nil {
		a.close()
	}
}
