package main

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/deltacdn/delta/cdn"
)

// directory is this program's discovery: a list.
type directory struct {
	mu      sync.Mutex
	entries []lease
}

type lease struct {
	cdn.Entry
	until time.Time
}

var _ cdn.Directory = (*directory)(nil)

func newDirectory() *directory { return &directory{} }

// Put implements cdn.Directory.
func (d *directory) Put(_ context.Context, e cdn.Entry, ttl time.Duration) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dropLocked(func(l lease) bool { return time.Now().After(l.until) })
	for _, l := range d.entries {
		if l.Stream == e.Stream && l.Publication == e.Publication && l.Epoch > e.Epoch {
			return &cdn.Error{Op: "announce", Stream: e.Stream, Err: cdn.ErrStale}
		}
	}
	d.dropLocked(func(l lease) bool {
		return l.Stream == e.Stream && (l.Node == e.Node || l.Publication == e.Publication && l.Epoch < e.Epoch)
	})
	d.entries = append(d.entries, lease{e, time.Now().Add(ttl)})
	return nil
}

// Remove implements cdn.Directory.
func (d *directory) Remove(_ context.Context, e cdn.Entry) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dropLocked(func(l lease) bool { return l.Stream == e.Stream && l.Node == e.Node && l.Epoch == e.Epoch })
	return nil
}

// Find implements cdn.Directory.
func (d *directory) Find(_ context.Context, id cdn.StreamID) ([]cdn.Entry, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var found []cdn.Entry
	for _, l := range d.entries {
		if l.Stream == id && time.Now().Before(l.until) {
			found = append(found, l.Entry)
		}
	}
	slices.SortStableFunc(found, func(a, b cdn.Entry) int { return a.Hops - b.Hops })
	return found, nil
}

func (d *directory) dropLocked(drop func(lease) bool) {
	d.entries = slices.DeleteFunc(d.entries, drop)
}
