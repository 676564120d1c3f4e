package link

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/deltacdn/delta/cdn"
)

// Stats is a snapshot of a link.
type Stats struct {
	Node     cdn.NodeID
	URL      string // that was dialled, "" where the other node dialled
	PeerURL  string // of the other node's signaling, as it says itself
	Up       time.Time
	RTT      time.Duration
	Loss     float64 // share of probes
	Load     float64 // of the other node: the share of its sessions in use, 0 to 1
	Received uint64  // bytes of media
	Sent     uint64
	// BitrateIn and BitrateOut are bits of media a second, over the last second or
	// so.
	BitrateIn, BitrateOut float64

	// Estimate is what the path carries, in bits a second, while it is watched since
	// something was wrong; 0: nothing is. HeldBack are the streams that are not sent in
	// all the layers that the other node wants, since the path does not carry them.
	Estimate float64
	HeldBack []cdn.StreamID

	Fetched []cdn.StreamID // that come by it
	Served  []cdn.StreamID // that go out by it
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
	c := l.talk.stats()
	l.mu.Lock()
	defer l.mu.Unlock()
	st := Stats{
		Node: l.peer.node, URL: l.to.URL, PeerURL: l.peer.url, Up: l.upSince, RTT: c.RTT, Loss: c.Loss, Load: c.Load,
		Received: l.media.received.Load(), Sent: l.adaptation.trunk.Bytes(), BitrateIn: l.rates.in, BitrateOut: l.rates.out,
	}
	if a := l.adaptation.state.Load(); a != nil {
		st.Estimate, st.HeldBack = a.estimate, slices.Clone(a.held)
	}
	for _, f := range l.subs.in {
		st.Fetched = append(st.Fetched, f.stream.ID())
	}
	for _, s := range l.subs.out {
		st.Served = append(st.Served, s.requested)
	}
	slices.Sort(st.Fetched)
	slices.Sort(st.Served)
	return st
}

// counts are the packets of media that came by a link; the bytes are media.received.
type counts struct{ packets, repairs, dropped atomic.Uint64 }

// measure adds the link's counts to the node's totals. Its outbound subscriptions add the media that it has sent.
func (l *Link) measure(t *cdn.Totals) {
	c := &l.media.counts
	t.Links.Received.Add(cdn.Flow{
		Packets: c.packets.Load(), Bytes: l.media.received.Load(), Repairs: c.repairs.Load(), Dropped: c.dropped.Load(),
	})
	l.talk.count(t)
}

// rates are the bitrates of the media that comes and goes.
type rates struct {
	in, out        float64
	since          time.Time
	received, sent uint64 // at since
}

const rateWindow = time.Second

// count computes the rates from the bytes so far, once a window is over.
func (r *rates) count(now time.Time, received, sent uint64) {
	d := now.Sub(r.since)
	if d < rateWindow {
		return
	}
	r.in = float64(received-r.received) * 8 / d.Seconds()
	r.out = float64(sent-r.sent) * 8 / d.Seconds()
	r.since, r.received, r.sent = now, received, sent
}
