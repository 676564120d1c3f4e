package link

import (
	"fmt"
	"slices"

	"github.com/deltacdn/delta/cdn"
)

// Two nodes that lose a stream may ask each other for it, each with a path that
// was true before. What they would send each other is what both have; so neither
// serves whom it asks itself, and a stream goes to no node that it comes through.

// loops returns [cdn.ErrLoop] if this node has a stream from a node, or asks it
// for it.
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
	for _, f := range l.fetches {
		if l.peer.node == node && f.stream.ID() == id && !f.config.Standby {
			return true
		}
	}
	return false
}

// untangle ends what nodes have of a stream that comes through them.
func (ls *Links) untangle(id cdn.StreamID, path []cdn.NodeID) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	for l := range ls.all {
		for _, s := range l.servingsOf(id, path) {
			s.end(fmt.Errorf("%w: it comes from there", cdn.ErrLoop))
		}
	}
}

func (l *Link) servingsOf(id cdn.StreamID, nodes []cdn.NodeID) (found []*serving) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !slices.Contains(nodes, l.peer.node) {
		return nil
	}
	for _, s := range l.servings {
		if s.wish == id {
			found = append(found, s)
		}
	}
	return found
}
