package cdntest_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
)

// A bus is an engine in memory: it stores the last value of each key under a TTL and
// tells all who are there of each, as a store with publish/subscribe does.
type bus struct {
	fault busFault // of the views on it

	mu       sync.Mutex // ahead of a view's
	views    []*busView
	values   map[busKey]busValue
	streams  map[cdn.StreamID]map[busKey]bool // the keys that there ever were of each
	frozen   chan struct{}                    // closed at its end; nil: it is not
	dead     bool
	messages uint64
}

var errBusDead = errors.New("connection refused")

type busKey struct {
	stream cdn.StreamID // "": what the node says of itself
	node   cdn.NodeID
}

// A busValue is what one node last put under a key, or that it removed it.
type busValue struct {
	entry   cdn.Entry
	node    cdn.NodeEntry
	removed bool
	lease   time.Duration
	written time.Time // by the wall clock of whom it is by
	by      int       // the view that wrote it
	number  uint64    // of what that wrote
	expires time.Time // at the bus
}

func (v busValue) key() busKey {
	if v.node.Node != "" {
		return busKey{node: v.node.Node}
	}
	return busKey{v.entry.Stream, v.entry.Node}
}

func newBus(fault busFault) *bus {
	return &bus{fault: fault, values: map[busKey]busValue{}, streams: map[cdn.StreamID]map[busKey]bool{}}
}

// engine returns the bus with all that a test can do to it.
func (b *bus) engine() cdntest.Engine {
	return cdntest.Engine{
		Open:       func(t *testing.T) cdn.Directory { return b.open(0) },
		OpenSkewed: func(t *testing.T, ahead time.Duration) cdn.Directory { return b.open(ahead) },
		Freeze: func(t *testing.T) func() {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.frozen = make(chan struct{})
			b.awayLocked()
			return func() {
				b.mu.Lock()
				defer b.mu.Unlock()
				close(b.frozen)
				b.frozen = nil
				b.backLocked()
			}
		},
		Kill: func(t *testing.T) func() {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.dead = true
			b.awayLocked()
			return func() {
				b.mu.Lock()
				defer b.mu.Unlock()
				b.dead, b.messages = false, 0
				clear(b.values)
				b.backLocked()
			}
		},
		Deafen: func(t *testing.T, d cdn.Directory) func() {
			v := d.(*busView)
			b.mu.Lock()
			defer b.mu.Unlock()
			v.deaf = true
			return func() {
				b.mu.Lock()
				defer b.mu.Unlock()
				if b.fault == staysDeaf {
					return
				}
				v.deaf = false
				b.tellAllLocked(v)
			}
		},
		Persist: func(t *testing.T) {
			b.mu.Lock()
			defer b.mu.Unlock()
			for k, v := range b.values {
				v.expires = time.Now().Add(365 * 24 * time.Hour)
				b.values[k] = v
			}
		},
		Record: func(t *testing.T) func() {
			b.mu.Lock()
			defer b.mu.Unlock()
			old := maps.Clone(b.values)
			return func() {
				b.mu.Lock()
				defer b.mu.Unlock()
				b.values = old
				for k, v := range old {
					v.expires = time.Now().Add(v.lease)
					old[k] = v
					b.tellLocked(v)
				}
			}
		},
		Messages: func(t *testing.T) uint64 {
			b.mu.Lock()
			defer b.mu.Unlock()
			return b.messages
		},
	}
}

func (b *bus) open(skew time.Duration) *busView {
	b.mu.Lock()
	defer b.mu.Unlock()
	v := &busView{Memory: cdn.NewMemory(), bus: b, id: len(b.views), skew: skew, known: map[busKey]busValue{}, seen: map[busSeen]uint64{}}
	b.views = append(b.views, v)
	if b.fault != noSnapshot {
		b.tellAllLocked(v)
	}
	return v
}

// enter waits while the bus is frozen.
func (b *bus) enter(ctx context.Context) error {
	for {
		b.mu.Lock()
		frozen, dead := b.frozen, b.dead
		b.mu.Unlock()
		switch {
		case dead:
			return errBusDead
		case frozen == nil:
			return ctx.Err()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-frozen:
		}
	}
}

// write stores a value and tells all of it.
func (b *bus) write(ctx context.Context, v busValue) error {
	if err := b.enter(ctx); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.messages++
	v.expires = time.Now().Add(v.lease)
	k := v.key()
	b.values[k] = v
	if b.streams[k.stream] == nil {
		b.streams[k.stream] = map[busKey]bool{}
	}
	b.streams[k.stream][k] = true
	b.tellLocked(v)
	return nil
}

func (b *bus) tellLocked(v busValue) {
	for _, view := range b.views {
		if (view.deaf || b.fault == islands) && view.id != v.by {
			continue
		}
		b.messages++
		view.take(v)
	}
}

// tellAllLocked has a view read what is stored.
func (b *bus) tellAllLocked(view *busView) {
	for _, v := range b.values {
		if b.fault == islands && view.id != v.by {
			continue
		}
		if time.Now().Before(v.expires) {
			b.messages++
			view.take(v)
		}
	}
}

// read has a view read what is stored of a stream, if the bus can be asked.
func (b *bus) read(view *busView, id cdn.StreamID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.dead || b.frozen != nil || view.deaf || b.fault == islands {
		return
	}
	for k := range b.streams[id] {
		if v := b.values[k]; time.Now().Before(v.expires) {
			view.take(v)
		}
	}
	b.messages++
}

func (b *bus) awayLocked() {
	for _, v := range b.views {
		v.hold()
	}
}

func (b *bus) backLocked() {
	for _, v := range b.views {
		v.release()
	}
}

// A busView is one node's directory: a Memory of what the bus told, under leases that
// are judged by this node, and held while the bus is away.
type busView struct {
	*cdn.Memory
	bus  *bus
	id   int
	skew time.Duration
	deaf bool // guarded by the bus's mu

	mu    sync.Mutex
	wrote uint64
	away  bool
	known map[busKey]busValue
	seen  map[busSeen]uint64 // the highest number of whom under a key
}

type busSeen struct {
	busKey
	by int
}

const forever = 365 * 24 * time.Hour

// next returns a value to be written.
func (v *busView) next(w busValue) busValue {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.wrote++
	w.by, w.number, w.written = v.id, v.wrote, time.Now().Add(v.skew)
	return w
}

func (v *busView) isAway() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.away
}

func (v *busView) Put(ctx context.Context, e cdn.Entry, ttl time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if known, ok := v.knows(e); ok && v.bus.fault == onceOnly && known.Load == e.Load {
		return nil // nothing has changed
	}
	here := ttl
	if v.isAway() {
		here = forever
	}
	if err := v.Memory.Put(ctx, e, here); err != nil { // it is stale, say
		return err
	}
	for v.bus.fault == ignoresContext && v.isAway() {
		time.Sleep(100 * time.Millisecond)
	}
	return v.bus.write(ctx, v.next(busValue{entry: e, lease: ttl}))
}

func (v *busView) knows(e cdn.Entry) (cdn.Entry, bool) {
	entries, _ := v.Memory.Find(context.Background(), e.Stream)
	i := slices.IndexFunc(entries, func(o cdn.Entry) bool { return o.Node == e.Node && o.Epoch == e.Epoch })
	if i < 0 {
		return cdn.Entry{}, false
	}
	return entries[i], true
}

func (v *busView) Remove(ctx context.Context, e cdn.Entry) error {
	known, _ := v.knows(e)
	if err := v.Memory.Remove(ctx, e); err != nil {
		return err
	}
	if known.Node == "" {
		return nil
	}
	return v.bus.write(ctx, v.next(busValue{entry: e, removed: true, lease: time.Minute}))
}

func (v *busView) PutNode(ctx context.Context, n cdn.NodeEntry, ttl time.Duration) error {
	if err := v.Memory.PutNode(ctx, n, ttl); err != nil {
		return err
	}
	return v.bus.write(ctx, v.next(busValue{node: n, lease: ttl}))
}

func (v *busView) RemoveNode(ctx context.Context, id cdn.NodeID) error {
	if err := v.Memory.RemoveNode(ctx, id); err != nil {
		return err
	}
	return v.bus.write(ctx, v.next(busValue{node: cdn.NodeEntry{Node: id}, removed: true, lease: time.Minute}))
}

func (v *busView) Find(ctx context.Context, id cdn.StreamID) ([]cdn.Entry, error) {
	switch {
	case v.isAway() && v.bus.fault == failsAway:
		return nil, errBusDead
	case v.isAway() && v.bus.fault == hangsAway:
		if err := v.bus.enter(ctx); err != nil {
			return nil, err
		}
	}
	v.bus.read(v, id)
	return v.Memory.Find(ctx, id)
}

// take takes what the bus tells or says again. The bus is locked.
func (v *busView) take(w busValue) {
	v.mu.Lock()
	defer v.mu.Unlock()
	k := w.key()
	seen := busSeen{k, w.by}
	lease := w.lease
	if w.number <= v.seen[seen] { // it has been told before
		_, there := v.knows(w.entry)
		switch {
		case v.bus.fault == readsRenew, v.bus.fault == oldCounts:
		case v.bus.fault == oldLivesOn && !there:
			lease = forever
		default:
			return
		}
	}
	if v.bus.fault == ownFirst && v.known[k].by == v.id && w.by != v.id && v.seen[busSeen{k, v.id}] > 0 {
		return
	}
	if v.bus.fault == wallClocks {
		lease = time.Until(w.written.Add(w.lease).Add(-v.skew))
	}
	v.known[k], v.seen[seen] = w, max(v.seen[seen], w.number)
	v.keepLocked(w, lease)
}

// keepLocked puts a value into the Memory.
func (v *busView) keepLocked(w busValue, lease time.Duration) {
	ctx := context.Background()
	switch {
	case w.removed && w.node.Node != "":
		_ = v.Memory.RemoveNode(ctx, w.node.Node)
	case w.removed && v.bus.fault == keepsRemoved:
	case w.removed:
		_ = v.Memory.Remove(ctx, w.entry)
	case lease <= 0: // it has run out
	case w.node.Node != "":
		_ = v.Memory.PutNode(ctx, w.node, lease)
	default:
		if v.bus.fault == oldCounts || v.bus.fault == noFences && w.by != v.id {
			entries, _ := v.Memory.Find(ctx, w.entry.Stream)
			for _, e := range entries {
				if e.Epoch > w.entry.Epoch && v.bus.fault == oldCounts {
					_ = v.Memory.Remove(ctx, e)
				}
			}
			if v.bus.fault == noFences {
				w.entry.Publication += string(w.entry.Node)
			}
		}
		_ = v.Memory.Put(ctx, w.entry, lease) // what is stale is refused
	}
}

// hold keeps what is known as long as the bus is away.
func (v *busView) hold() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.away = true
	if v.bus.fault != expiresAway {
		v.keepAllLocked(func(busValue) time.Duration { return forever })
	}
}

// release gives what is known one more lease, in which it is renewed if it is still there.
func (v *busView) release() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.away = false
	switch v.bus.fault {
	case neverForgets:
	case forgetsAtReturn:
		v.keepAllLocked(func(busValue) time.Duration { return time.Nanosecond })
	case herd:
		for range 2 {
			v.bus.messages += uint64(len(v.known) * len(v.bus.views))
		}
		v.keepAllLocked(func(w busValue) time.Duration { return w.lease })
	default:
		v.keepAllLocked(func(w busValue) time.Duration { return w.lease })
	}
}

func (v *busView) keepAllLocked(lease func(busValue) time.Duration) {
	nodes, _ := v.Memory.Nodes(context.Background())
	for _, w := range v.known {
		there := slices.ContainsFunc(nodes, func(n cdn.NodeEntry) bool { return w.node.Node != "" && n.Node == w.node.Node })
		if w.node.Node == "" {
			_, there = v.knows(w.entry)
		}
		if there && !w.removed {
			v.keepLocked(w, lease(w))
		}
	}
}
