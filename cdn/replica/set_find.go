package replica

import (
	"cmp"
	"context"
	"iter"
	"slices"

	"github.com/deltacdn/delta/cdn"
)

// Find returns the entries of a stream, those with the fewest hops first, and then in
// the order of their nodes' names.
func (s *Set) Find(id cdn.StreamID) []cdn.Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st := s.streams[id]; st != nil && id != "" {
		return st.list()
	}
	return []cdn.Entry{}
}

func (st *stream) list() []cdn.Entry {
	entries := make([]cdn.Entry, 0, len(st.records))
	for _, r := range st.records {
		entries = append(entries, cloneEntry(r.entry))
	}
	slices.SortFunc(entries, func(a, b cdn.Entry) int {
		return cmp.Or(cmp.Compare(a.Hops, b.Hops), cmp.Compare(a.Node, b.Node))
	})
	return entries
}

// Nodes returns the nodes' own entries in the order of their names.
func (s *Set) Nodes() []cdn.NodeEntry {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.streams[""]
	if st == nil {
		return nil
	}
	nodes := make([]cdn.NodeEntry, 0, len(st.records))
	for _, r := range st.records {
		nodes = append(nodes, cloneNode(r.node))
	}
	slices.SortFunc(nodes, func(a, b cdn.NodeEntry) int { return cmp.Compare(a.Node, b.Node) })
	return nodes
}

// Watch yields the entries of a stream now and after each change, until ctx ends, the
// loop is left, or the set is closed, which yields an error wrapping [cdn.ErrClosed]. A
// renewal that changes nothing is no change, and changes that follow each other faster
// than the loop's body takes are yielded as one.
func (s *Set) Watch(ctx context.Context, id cdn.StreamID) iter.Seq2[[]cdn.Entry, error] {
	return func(yield func([]cdn.Entry, error) bool) {
		st := s.watch(id)
		defer s.unwatch(id, st)
		for first, seen := true, uint64(0); ctx.Err() == nil; first = false {
			entries, version, changed := s.view(st)
			if (first || version != seen) && !yield(entries, nil) {
				return
			}
			seen = version
			select {
			case <-ctx.Done():
			case <-changed:
			case <-s.closed:
				yield(nil, &cdn.Error{Op: "watch", Stream: id, Err: cdn.ErrClosed})
				return
			}
		}
	}
}

func (s *Set) watch(id cdn.StreamID) *stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.openLocked(id)
	st.watchers++
	return st
}

func (s *Set) unwatch(id cdn.StreamID, st *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st.watchers--
	s.closeLocked(id, st)
}

func (s *Set) view(st *stream) (entries []cdn.Entry, version uint64, changed <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return st.list(), st.version, st.changed
}

// Watched returns the streams that are being watched.
func (s *Set) Watched() []cdn.StreamID {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ids []cdn.StreamID
	for id, st := range s.streams {
		if st.watchers > 0 {
			ids = append(ids, id)
		}
	}
	return ids
}

// Own returns what this node has announced and what counts still, as JSON. The slices
// must not be changed.
func (s *Set) Own() [][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	var own [][]byte
	for _, st := range s.streams {
		for _, r := range st.records {
			if r.own != nil {
				own = append(own, r.own)
			}
		}
	}
	return own
}

// OwnOf returns what this node has announced of a node, and what counts still.
func (s *Set) OwnOf(id cdn.NodeID) []Value {
	var own []Value
	for _, raw := range s.Own() {
		if v, err := Decode(raw); err == nil && v.Key().Node == id {
			own = append(own, v)
		}
	}
	return own
}

// Len returns how many announcements the set holds: of streams at nodes, and of nodes
// themselves.
func (s *Set) Len() (entries, nodes int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st := s.streams[""]; st != nil {
		nodes = len(st.records)
	}
	return s.count - nodes, nodes
}

// Close ends what watches the set. It is idempotent.
func (s *Set) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.closed:
	default:
		close(s.closed)
	}
}
