package link

import (
	"errors"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/link/control"
	"github.com/deltacdn/delta/internal/trouble/reason"
)

// Drain tells the other nodes that this one is leaving ([cdn.Drainer]), so that they
// fetch from elsewhere if they can.
func (ls *Links) Drain(time.Time) { ls.tellLeaving(true) }

// Undrain takes that back.
func (ls *Links) Undrain() { ls.tellLeaving(false) }

func (ls *Links) tellLeaving(yes bool) {
	ls.mu.Lock()
	all := make([]*Link, 0, len(ls.all))
	for l := range ls.all {
		all = append(all, l)
	}
	ls.mu.Unlock()
	for _, l := range all {
		l.talk.do(func(now time.Time, c *control.Conn) { c.SetLeaving(now, yes) })
	}
}

// leaves notes whether the other node is leaving, and wakes those that fetch from it.
func (l *Link) leaves(yes bool) {
	l.mu.Lock()
	l.peer.leaving = yes
	l.mu.Unlock()
	ls := l.links
	ls.mu.Lock()
	close(ls.left)
	ls.left = make(chan struct{})
	ls.mu.Unlock()
	if yes {
		l.logger().Info("another node is leaving")
	} else {
		l.logger().Info("another node stays after all")
	}
}

// Leaving reports whether the node of an entry has said on a link that it is leaving.
func (ls *Links) Leaving(e cdn.Entry) bool {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	l := ls.findLocked(func(l *Link) bool { return l.isUp() && l.leadsTo(e) })
	if l == nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.peer.leaving
}

// LeavingChanged returns a channel that is closed when some node says that it is
// leaving, or is not.
func (ls *Links) LeavingChanged() <-chan struct{} {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	return ls.left
}

// RTT returns the round trip to a node. It is false if no link with the node is up, or
// the round trip was not measured yet.
func (ls *Links) RTT(id cdn.NodeID) (time.Duration, bool) {
	ls.mu.Lock()
	l := ls.findLocked(func(l *Link) bool { return l.isUp() && l.Peer() == id })
	ls.mu.Unlock()
	if l == nil {
		return 0, false
	}
	return l.rtt()
}

func (l *Link) rtt() (time.Duration, bool) {
	d := l.talk.stats().RTT
	return d, d > 0
}

// Suggest sets the function that returns which other nodes may serve a stream that this
// one cannot. The function must not block for long.
func (ls *Links) Suggest(f func(id cdn.StreamID, to cdn.NodeID) []cdn.Entry) { ls.suggest.Store(&f) }

// refusal returns what the other node is told of err.
func (s *outbound) refusal(err error) control.Reason {
	r := control.Reason{Code: reason.Word(err)}
	f := s.link.links.suggest.Load()
	if f == nil || !errors.Is(err, cdn.ErrOverLimit) {
		return r
	}
	for _, e := range (*f)(s.requested, s.link.Peer()) {
		if len(r.Instead) < maxInstead {
			r.Instead = append(r.Instead, control.Elsewhere{Node: string(e.Node), URL: e.URL})
		}
	}
	return r
}

// Serves returns the nodes that have a stream from this one.
func (ls *Links) Serves(id cdn.StreamID) (nodes []cdn.NodeID) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	for l := range ls.all {
		if node := l.Peer(); len(l.outboundOf(id, []cdn.NodeID{node})) > 0 {
			nodes = append(nodes, node)
		}
	}
	return nodes
}
