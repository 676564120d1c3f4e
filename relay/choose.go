package relay

import (
	"context"
	"slices"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/link"
	"github.com/deltacdn/delta/internal/route"
	"github.com/deltacdn/delta/internal/route/nearby"
)

// measureFor bounds how long the first choice for a stream waits for the round trips to its
// candidates to be measured.
const measureFor = 150 * time.Millisecond

// routes are what a Relay knows of the routes to other nodes.
type routes struct {
	node  *cdn.Node
	near  *nearby.Map // nil: the directory does not know nodes
	links *link.Links
}

func routesOf(node *cdn.Node, dir cdn.Directory) (w routes, err error) {
	w.node = node
	if w.links, err = linksOf(node); err != nil {
		return w, err
	}
	if nodes, ok := dir.(cdn.NodeDirectory); ok {
		w.near, err = nearby.Of(node, nodes)
	}
	return w, err
}

// rtt returns the round trip to a node, 0 if it is not known: the shorter of what a link
// and a probe have shown, since probes on a link queue behind media at times.
func (w routes) rtt(id cdn.NodeID) time.Duration {
	linked, ok := w.links.RTT(id)
	probed, also := w.near.RTT(id)
	switch {
	case ok && also:
		return min(linked, probed)
	case ok:
		return linked
	}
	return probed
}

// candidates returns the nodes that a stream may be fetched from: those of the directory's
// entries, all of which name a node, and the relays that would fetch it.
func (w routes) candidates(id cdn.StreamID, entries []cdn.Entry) []route.Candidate {
	origin, nodes := originOf(entries), w.near.Nodes()
	all := make([]route.Candidate, 0, len(entries)+len(nodes))
	at := make(map[cdn.NodeID]int, len(entries))
	for _, e := range entries {
		at[e.Node] = len(all)
		all = append(all, route.Candidate{Entry: e, Has: true, Load: e.Load, RTT: w.rtt(e.Node), Far: true})
	}
	for _, n := range nodes {
		i, has := at[n.Node]
		if !has {
			if !n.Roles.Has(cdn.RoleRelay) {
				continue
			}
			i = len(all)
			all = append(all, route.Candidate{Entry: cdn.Entry{Stream: id, Node: n.Node, URL: n.URL}, RTT: w.rtt(n.Node)})
		}
		c := &all[i]
		c.Load, c.Draining = max(c.Load, n.Load), c.Draining || n.Draining
		var known bool
		c.Distance, known = n.LatencyTo(origin)
		c.Far = !known
	}
	for i := range all {
		if w.links.Leaving(all[i].Entry) { // it has said so itself, just now
			all[i].Draining = true
		}
	}
	return all
}

// distance returns how far an origin is, and false if that is not known.
func (w routes) distance(origin cdn.NodeID) (time.Duration, bool) {
	if w.near == nil {
		return 0, false
	}
	return w.near.Distance(origin)
}

// originOf returns the origin of a stream, "" if that is not known.
func originOf(entries []cdn.Entry) cdn.NodeID {
	for _, e := range entries {
		if e.Hops == 0 && len(e.Path) == 0 {
			return e.Node
		}
	}
	for _, e := range entries {
		if len(e.Path) > 0 {
			return e.Path[0]
		}
	}
	return ""
}

// requester returns what this node is to the nodes that it asks.
func (w routes) requester(id cdn.StreamID, origin cdn.NodeID, through []cdn.NodeID) route.Requester {
	a := route.Requester{Node: w.node.ID(), Stream: id, Serves: w.node.Roles().Has(cdn.RoleRelay), Through: through}
	d, ok := w.near.Distance(origin)
	a.Distance, a.Far = d, !ok
	return a
}

// awaitMeasured waits up to measureFor until the candidates for a stream have been measured.
func (w routes) awaitMeasured(ctx context.Context, entries []cdn.Entry) {
	ctx, cancel := context.WithTimeout(ctx, measureFor)
	defer cancel()
	w.near.Refresh(ctx)
	w.near.AwaitMeasured(ctx, func(nodes []cdn.NodeEntry) (ids []cdn.NodeID) {
		for _, n := range nodes {
			has := slices.ContainsFunc(entries, func(e cdn.Entry) bool { return e.Node == n.Node })
			if has || n.Roles.Has(cdn.RoleRelay) {
				ids = append(ids, n.Node)
			}
		}
		return ids
	})
}

// rank returns the entries of a stream, and of relays that would fetch it, the best first.
// Entries that do not name their node come last, in the order given.
func (f *fetch) rank(entries []cdn.Entry) []cdn.Entry {
	var named, others []cdn.Entry
	for _, e := range entries {
		if e.Node == "" {
			others = append(others, e)
		} else {
			named = append(named, e)
		}
	}
	if len(named) == 0 || f.relay.routes.near == nil {
		return entries
	}
	var ranked []cdn.Entry
	for _, c := range f.choose(named) {
		ranked = append(ranked, c.Entry)
	}
	return append(ranked, others...)
}

func (f *fetch) choose(named []cdn.Entry) []route.Candidate {
	w := f.relay.routes
	return route.Choose(w.requester(f.stream.ID(), originOf(named), f.path[:len(f.path)-1]), w.candidates(f.stream.ID(), named))
}

// suggest returns a function that returns the nodes that may have room for a stream: first
// those that have it, then relays, the least loaded ones first.
func (w routes) suggest(dir cdn.Directory) func(cdn.StreamID, cdn.NodeID) []cdn.Entry {
	return func(id cdn.StreamID, requester cdn.NodeID) []cdn.Entry {
		ctx, cancel := context.WithTimeout(context.Background(), refreshTimeout)
		defer cancel()
		entries, err := dir.Find(ctx, id)
		if err != nil {
			return nil
		}
		served := w.links.Serves(id)
		for _, n := range w.near.Nodes() { // a node that fetches it from here has it soon
			if slices.Contains(served, n.Node) && !slices.ContainsFunc(entries, func(e cdn.Entry) bool { return e.Node == n.Node }) && n.Roles.Has(cdn.RoleRelay) {
				entries = append(entries, cdn.Entry{Stream: id, Node: n.Node, URL: n.URL, Hops: 1})
			}
		}
		all := slices.DeleteFunc(w.candidates(id, entries), func(c route.Candidate) bool {
			e := c.Entry
			return c.Load >= 1 || c.Draining || e.URL == "" || e.Node == "" || e.Node == requester || e.Node == w.node.ID() ||
				slices.Contains(e.Path, requester) || slices.Contains(e.Path, w.node.ID())
		})
		slices.SortStableFunc(all, func(x, y route.Candidate) int { return route.LeastLoaded(x, y) })
		var found []cdn.Entry
		for _, c := range all {
			found = append(found, c.Entry)
		}
		return found
	}
}
