package relay

import (
	"slices"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/service"
)

// announces reports whether the node announces what it fetches: it serves other nodes, and
// has a directory and a URL.
func (r *Relay) announces() bool {
	return r.node.Roles().Has(cdn.RoleRelay) && r.node.Directory() != nil && r.node.URL() != ""
}

// announce keeps the stream in the node's directory until the stream ends: the route that it
// takes to this node, and the latency of that. It is announced while it is still fetched,
// too, so that neighbours that want it at the same time wait for this copy.
func (f *fetch) announce() {
	withdraw := func() {}
	defer func() { withdraw() }()
	var told cdn.InputConfig
	announced := false
	for {
		changed := f.stream.Changed()
		if c, ok := f.route(); ok && (!announced || !same(c, told)) {
			latency, _ := c.Latency()
			withdraw = f.relay.node.Announce(f.stream, cdn.Entry{
				Publication: c.Publication, Epoch: c.Epoch, Hops: len(c.Path), Path: c.Path, Latency: latency,
			}, func() {})
			told, announced = c, true
		}
		select {
		case <-changed:
		case <-f.chosen:
		case <-f.stream.Done():
			return
		}
	}
}

// route returns the route that the stream takes to this node, or will take while it is not
// here yet; false: it is not known. The last route stays while nothing comes.
func (f *fetch) route() (c cdn.InputConfig, ok bool) {
	if f.stream.Tracks() != nil {
		c, ok = f.stream.Input()
		return c, ok && len(c.Path) > 0
	}
	f.relay.mu.Lock()
	defer f.relay.mu.Unlock()
	return f.expected, len(f.expected.Path) > 0
}

// expect notes the node that the stream is about to come from.
func (f *fetch) expect(from cdn.Entry) {
	if f.stream.Tracks() != nil || from.Node == "" {
		return
	}
	c := cdn.InputConfig{Publication: from.Publication, Epoch: from.Epoch, Path: append(slices.Clone(from.Path), from.Node)}
	if from.Hops == 0 && len(from.Path) == 0 && !f.isOrigin(from) { // a relay that has to fetch it
		origin := f.originEntry()
		c = cdn.InputConfig{Publication: origin.Publication, Epoch: origin.Epoch, Path: []cdn.NodeID{origin.Node, from.Node}}
		if origin.Node == "" {
			return
		}
	}
	if first, ok := f.relay.routes.distance(c.Path[0]); ok {
		c.Delays = make([]time.Duration, len(c.Path))
		c.Delays[0] = max(first, from.Latency)
	}
	f.relay.mu.Lock()
	f.expected = c
	f.relay.mu.Unlock()
	select {
	case f.chosen <- struct{}{}:
	default:
	}
}

func (f *fetch) isOrigin(e cdn.Entry) bool {
	return slices.ContainsFunc(f.found, func(x cdn.Entry) bool { return x.Node == e.Node && x.Hops == 0 && len(x.Path) == 0 })
}

// originEntry returns the entry of the stream's origin; without Node: the directory has
// none.
func (f *fetch) originEntry() (e cdn.Entry) {
	for _, x := range f.found {
		if x.Hops == 0 && len(x.Path) == 0 {
			return x
		}
	}
	return e
}

// same reports whether the announcements of two routes are equal.
func same(a, b cdn.InputConfig) bool {
	return a.Publication == b.Publication && a.Epoch == b.Epoch && slices.Equal(a.Path, b.Path) && !service.DelaysDiffer(a.Delays, b.Delays)
}
