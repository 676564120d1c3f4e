package cdn

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"
)

// maxMemoryEntries bounds a [Memory]. A deployment with more streams than this
// has long needed a store that its nodes can share.
const maxMemoryEntries = 1 << 17

// Memory is a [NodeDirectory] and a [Watcher] in the memory of one process: for
// tests, and for networks whose nodes share a process. It holds up to 131072
// entries, and as many nodes; more are refused with an error wrapping [ErrOverLimit]. Its methods
// may be called concurrently; it keeps and hands out copies, so nothing that
// it is given or returns is shared with it. It owns no goroutine and needs no
// closing.
type Memory struct {
	limit int // static after NewMemory

	mu      sync.Mutex
	streams map[StreamID]*memoryStream
	entries int // in all streams, with those that expired unnoticed
	sweepAt int // the number of entries at which the expired ones are looked for
	nodes   map[NodeID]nodeLease
}

var (
	_ NodeDirectory = (*Memory)(nil)
	_ Watcher       = (*Memory)(nil)
)

// memoryStream is what is known of one stream. It stays while it has entries
// or watchers. All of it is guarded by Memory.mu.
type memoryStream struct {
	leases   map[NodeID]lease
	version  uint64        // rises when what Find answers changes
	changed  chan struct{} // closed, and replaced, when version rises
	watchers int
}

type lease struct {
	entry   Entry
	expires time.Time
}

// NewMemory returns an empty Memory.
func NewMemory() *Memory {
	return &Memory{
		limit:   maxMemoryEntries,
		streams: make(map[StreamID]*memoryStream),
		nodes:   make(map[NodeID]nodeLease),
		sweepAt: minSweep,
	}
}

// Put implements [Directory]. Besides stale entries it refuses those without a
// stream, a node or a lease ([ErrInvalid]).
func (m *Memory) Put(ctx context.Context, e Entry, ttl time.Duration) error {
	if err := m.put(ctx, e.clone(), ttl); err != nil {
		return &Error{Op: "announce", Stream: e.Stream, Err: err}
	}
	return nil
}

func (m *Memory) put(ctx context.Context, e Entry, ttl time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if e.Stream == "" || e.Node == "" || ttl <= 0 {
		return fmt.Errorf("%w: entry of stream %q by node %q for %v", ErrInvalid, e.Stream, e.Node, ttl)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	m.sweepLocked(now)
	s := m.openLocked(e.Stream)
	defer m.closeLocked(e.Stream, s)
	m.expireLocked(s, now)
	for _, l := range s.leases {
		if l.entry.Publication == e.Publication && l.entry.Epoch > e.Epoch {
			return fmt.Errorf("%w: %d, but %s has %d", ErrStale, e.Epoch, l.entry.Node, l.entry.Epoch)
		}
	}
	old, again := s.leases[e.Node]
	if !again && m.entries >= m.limit {
		return fmt.Errorf("%w: %d entries", ErrOverLimit, m.limit)
	}
	superseded := m.deleteLocked(s, func(l lease) bool {
		return l.entry.Publication == e.Publication && l.entry.Epoch < e.Epoch && l.entry.Node != e.Node
	})
	s.leases[e.Node] = lease{entry: e, expires: now.Add(ttl)}
	if !again {
		m.entries++
	}
	if superseded || !again || !old.entry.equal(e) {
		s.tell()
	}
	return nil
}

// Remove implements [Directory].
func (m *Memory) Remove(ctx context.Context, e Entry) error {
	if err := ctx.Err(); err != nil {
		return &Error{Op: "withdraw", Stream: e.Stream, Err: err}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.openLocked(e.Stream)
	defer m.closeLocked(e.Stream, s)
	if m.deleteLocked(s, func(l lease) bool { return l.entry.Node == e.Node && l.entry.Epoch == e.Epoch }) {
		s.tell()
	}
	return nil
}

// Find implements [Directory]. Entries of equal Hops come in the order of
// their nodes' names.
func (m *Memory) Find(ctx context.Context, id StreamID) ([]Entry, error) {
	if err := ctx.Err(); err != nil {
		return nil, &Error{Op: "find", Stream: id, Err: err}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.openLocked(id)
	defer m.closeLocked(id, s)
	m.expireLocked(s, time.Now())
	return s.list(), nil
}

// Watch implements [Watcher]. A renewal that changes nothing is no change, and
// changes that follow each other faster than the loop's body takes are yielded
// as one. When ctx ends the sequence ends without an error.
func (m *Memory) Watch(ctx context.Context, id StreamID) iter.Seq2[[]Entry, error] {
	return func(yield func([]Entry, error) bool) {
		s := m.watch(id)
		defer m.unwatch(id, s)
		for first, seen := true, uint64(0); ctx.Err() == nil; first = false {
			v := m.view(s)
			if (first || v.version != seen) && !yield(v.entries, nil) {
				return
			}
			seen = v.version
			v.wait(ctx)
		}
	}
}

// memoryView is what a watcher sees at one time, and how it learns of the next.
type memoryView struct {
	entries []Entry
	version uint64
	changed <-chan struct{}
	expiry  time.Time // of the lease that ends first; zero if there is none
}

// wait returns when a stream seen as v has perhaps changed, or ctx has ended.
func (v memoryView) wait(ctx context.Context) {
	var expired <-chan time.Time
	if !v.expiry.IsZero() {
		timer := time.NewTimer(time.Until(v.expiry))
		defer timer.Stop()
		expired = timer.C
	}
	select {
	case <-ctx.Done():
	case <-v.changed:
	case <-expired:
	}
}

func (m *Memory) watch(id StreamID) *memoryStream {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.openLocked(id)
	s.watchers++
	return s
}

func (m *Memory) unwatch(id StreamID, s *memoryStream) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s.watchers--
	m.closeLocked(id, s)
}

func (m *Memory) view(s *memoryStream) memoryView {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.expireLocked(s, time.Now())
	v := memoryView{entries: s.list(), version: s.version, changed: s.changed}
	for _, l := range s.leases {
		if v.expiry.IsZero() || l.expires.Before(v.expiry) {
			v.expiry = l.expires
		}
	}
	return v
}

// openLocked returns the state of a stream, which closeLocked may drop again.
func (m *Memory) openLocked(id StreamID) *memoryStream {
	s := m.streams[id]
	if s == nil {
		s = &memoryStream{leases: make(map[NodeID]lease), changed: make(chan struct{})}
		m.streams[id] = s
	}
	return s
}

func (m *Memory) closeLocked(id StreamID, s *memoryStream) {
	if len(s.leases) == 0 && s.watchers == 0 {
		delete(m.streams, id)
	}
}

// minSweep is the number of entries below which Memory does not look for
// expired ones in streams that nobody asks for.
const minSweep = 64

// sweepLocked forgets the expired entries of all streams when there are twice
// as many entries as it left the last time, or no room for one more: so that a
// Put costs the same on average however many there are.
func (m *Memory) sweepLocked(now time.Time) {
	if m.entries < min(m.sweepAt, m.limit) {
		return
	}
	for id, s := range m.streams {
		m.expireLocked(s, now)
		m.closeLocked(id, s)
	}
	m.sweepAt = max(minSweep, 2*m.entries)
}

// expireLocked forgets the leases of s that have run out.
func (m *Memory) expireLocked(s *memoryStream, now time.Time) {
	if m.deleteLocked(s, func(l lease) bool { return !now.Before(l.expires) }) {
		s.tell()
	}
}

// deleteLocked deletes the leases that del says, and reports whether there were any.
func (m *Memory) deleteLocked(s *memoryStream, del func(lease) bool) bool {
	before := len(s.leases)
	maps.DeleteFunc(s.leases, func(_ NodeID, l lease) bool { return del(l) })
	m.entries -= before - len(s.leases)
	return len(s.leases) != before
}

// tell wakes the watchers of s.
func (s *memoryStream) tell() {
	s.version++
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *memoryStream) list() []Entry {
	entries := make([]Entry, 0, len(s.leases))
	for _, l := range s.leases {
		entries = append(entries, l.entry.clone())
	}
	slices.SortFunc(entries, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(a.Hops, b.Hops), cmp.Compare(a.Node, b.Node))
	})
	return entries
}
