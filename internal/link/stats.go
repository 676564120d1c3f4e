package link

import (
	"slices"
	"time"

	"github.com/deltacdn/delta/cdn"
)

// Stats is a snapshot of a link.
type Stats struct {
	Node     cdn.NodeID
	URL      string // that was dialled, "" where the other node dialled
	Up       time.Time
	RTT      time.Duration
	Loss     float64 // share of probes
	Received uint64  // bytes of media
	Sent     uint64
	Fetched  []cdn.StreamID // that come by it
	Served   []cdn.StreamID // that go out by it
}

// Stats returns a snapshot of the links that are up.
func (ls *Links) Stats() (all []Stats) {
	ls.mu.Lock()
	links := make([]*Link, 0, len(ls.all))
	for l := range ls.all {
		if l.isUp() {
			links = append(links, l)
		}
	}
	ls.mu.Unlock()
	for _, l := range links {
		all = append(all, l.stats())
	}
	slices.SortFunc(all, func(a, b Stats) int { return a.Up.Compare(b.Up) })
	return all
}

func (l *Link) stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.control.Stats()
	st := Stats{
		Node: l.peer.node, URL: l.url, Up: l.upSince, RTT: c.RTT, Loss: c.Loss,
		Received: l.media.received.Load(), Sent: l.media.sent.Load(),
	}
	for _, f := range l.fetches {
		st.Fetched = append(st.Fetched, f.stream.ID())
	}
	for _, s := range l.servings {
		st.Served = append(st.Served, s.wish)
	}
	slices.Sort(st.Fetched)
	slices.Sort(st.Served)
	return st
}
