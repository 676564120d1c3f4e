package relay

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/route"
)

const (
	// movesApart is the least time between two moves of a node's streams to better nodes.
	movesApart = 30 * time.Second
	// moveWithin is how long a move may take until the stream comes from the new node.
	moveWithin = 4 * time.Second
)

// errMoved is why an upstream is left for a better one, or because it is leaving.
var errMoved = fmt.Errorf("%w: the stream comes from another node now", cdn.ErrSuperseded)

// search begins to look for another upstream, if it is time for that, and returns when to
// call it again.
func (w *following) search(now time.Time) time.Time {
	r, from := w.fetch.relay, w.current.from
	if r.links == nil || r.routes.near == nil {
		return now.Add(never)
	}
	leaving := r.routes.links.Leaving(from)
	if !leaving && from.Node == "" { // it is not known what it costs
		return now.Add(never)
	}
	yes, next := w.scout.due(now, leaving)
	if yes {
		w.helpers.Go(func() { w.moved <- w.improve(leaving) })
	}
	return next
}

// improve moves the stream to another node, if there is a reason to, and returns the fetch
// from there, or nil.
func (w *following) improve(leaving bool) *running {
	to, ok := w.better(leaving)
	if !ok || leaving && !sleep(w.ctx, w.fetch.jitter.Below(leaveWithin)) {
		return nil
	}
	r := w.fetch.moveTo(w.ctx, to)
	if r == nil {
		w.scout.failed(time.Now(), to)
	}
	return r
}

func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// better returns the node to move to, and false if the one in use is good enough.
func (w *following) better(leaving bool) (to cdn.Entry, yes bool) {
	f, now := w.fetch, w.current.from
	ctx, cancel := context.WithTimeout(w.ctx, refreshTimeout)
	defer cancel()
	entries, err := f.relay.config.Directory.Find(ctx, f.stream.ID())
	if err != nil {
		entries = f.found // what it said earlier
	}
	entries = f.eligible(entries)
	if now.Node == "" {
		return w.next(entries)
	}
	entries = slices.DeleteFunc(entries, func(e cdn.Entry) bool { return e.Node == "" })
	c := choice{now: now, leaving: leaving, cost: -1, ranked: f.choose(entries), reaches: f.relay.reaches, mayMove: f.relay.mayMove}
	for _, n := range f.relay.routes.candidates(f.stream.ID(), entries) {
		if n.Entry.Node == now.Node {
			c.cost = f.costOf(n)
		}
	}
	return w.scout.choose(time.Now(), c)
}

// next returns the first of the entries, which do not say of which node they are, that
// can take the place of one that is leaving.
func (w *following) next(entries []cdn.Entry) (to cdn.Entry, yes bool) {
	r := w.fetch.relay
	for _, e := range r.unreachableLast(entries) {
		if e.Place() != w.current.from.Place() && !r.routes.links.Leaving(e) && !w.scout.avoids(time.Now(), e, r.reaches) {
			return e, true
		}
	}
	return to, false
}

// costOf returns the cost of the node in use. That of an origin counts for an edge, which
// has relays to spare it, as more than any relay's: those were not known earlier.
func (f *fetch) costOf(c route.Candidate) time.Duration {
	if c.IsOrigin() && !f.relay.node.Roles().Has(cdn.RoleRelay) {
		return route.Cost(c) + time.Hour
	}
	return route.Cost(c)
}

// reaches reports whether a node can be reached, and whether that is known.
func (r *Relay) reaches(to cdn.Entry) (yes, known bool) {
	if r.links == nil {
		return true, true
	}
	return r.links.Reaches(to)
}

// mayMove reports whether the node may move a stream to a better node, and counts it.
func (r *Relay) mayMove() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if now.Sub(r.moved) < movesApart {
		return false
	}
	r.moved = now
	return true
}

// moveTo fetches the stream from another node as well, and returns that fetch once the
// stream comes from there; nil if it does not.
func (f *fetch) moveTo(ctx context.Context, to cdn.Entry) *running {
	f.relay.node.Logger().Debug("a stream is to come from another node", "stream", string(f.stream.ID()), "peer", string(to.Node), "url", to.Place()) // an event, if it does
	comes := f.comesFrom(to)
	r := f.begin(f.ctx, to, f.relay.links.Move) // it outlives the fetch that it follows
	timeout := time.NewTimer(moveWithin)
	defer timeout.Stop()
	for {
		changed := f.stream.Changed()
		if comes() {
			return r
		}
		select {
		case <-changed:
			continue
		case <-r.done:
		case <-timeout.C:
		case <-ctx.Done():
			// The fetch that it was to follow has ended: it may go on, if it has begun.
		}
		if comes() {
			return r
		}
		r.end()
		if err := r.err; err != nil && ctx.Err() == nil {
			f.relay.node.Logger().Info("a stream stays where it comes from", "stream", string(f.stream.ID()), "err", err)
		}
		return nil
	}
}

// comesFrom returns a function that reports whether the stream comes from a node: if its
// entry does not say which it is, from another one than now.
func (f *fetch) comesFrom(to cdn.Entry) func() bool {
	last := func() cdn.NodeID {
		if in, ok := f.stream.Input(); ok && len(in.Path) > 0 {
			return in.Path[len(in.Path)-1]
		}
		return ""
	}
	old := last()
	return func() bool {
		now := last()
		return now != "" && (now == to.Node || to.Node == "" && now != old)
	}
}
