package link

import (
	"fmt"
	"slices"

	"github.com/deltacdn/delta/cdn"
)

// Two nodes that lose a stream may ask each other for it, each with a path that used
// to be true. They would send each other only what both have. So a node serves a
// stream to no node that it fetches it from, and to none on the stream's path.

// loops returns [cdn.ErrLoop] if this node fetches a stream from a node.
func (ls *Links) loops(id cdn.StreamID, from cdn.NodeID) error {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	for l := range ls.all {
		if l.fetchesFrom(from, id) {
			return fmt.Errorf("%w: node %s is asked for it itself", cdn.ErrLoop, from)
		}
	}
	return nil
}

func (l *Link) fetchesFrom(node cdn.NodeID, id cdn.StreamID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range l.subs.in {
		if l.peer.node == node && f.stream.ID() == id && !f.config.Standby {
			return true
		}
	}
	return false
}

// breakLoops ends the outbound subscriptions of the nodes on a stream's path.
func (ls *Links) breakLoops(id cdn.StreamID, path []cdn.NodeID) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	for l := range ls.all {
		for _, s := range l.outboundOf(id, path) {
			s.end(fmt.Errorf("%w: it comes from there", cdn.ErrLoop))
		}
	}
}

// outboundOf returns the subscriptions to a stream if the other node is one of nodes.
func (l *Link) outboundOf(id cdn.StreamID, nodes []cdn.NodeID) (found []*outbound) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !slices.Contains(nodes, l.peer.node) {
		return nil
	}
	for _, s := range l.subs.out {
		if s.requested == id {
			found = append(found, s)
		}
	}
	return found
}
