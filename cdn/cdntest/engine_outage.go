package cdntest

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/deltacdn/delta/cdn"
)

// outage has the engine away while streams run: none is ever missed by a node that knew
// it, and everything is found by all soon after the return.
func (d *engineTest) outage(away func(*testing.T) (back func())) {
	const nodes = 4
	lease := d.e.Lease
	origins := d.announce(nodes, d.e.Streams)
	dying := origins[nodes-1]
	kept, staying := streamsOf(origins[:nodes-1]...), origins[:nodes-1]
	readers := []cdn.Directory{d.open(), d.open()}
	for _, r := range readers {
		d.within(time.Now().Add(lease/3+soon), "before the outage", func() error { return d.finds(r, streamsOf(origins...), origins...) })
	}
	polls := []*poll{
		d.poll("one", readers[0], kept, staying...), d.poll("two", readers[1], kept, staying...),
		d.poll("of the first origin", origins[0].dir, kept, staying...),
	}
	for _, r := range readers {
		defer d.watchAlways(r, kept[0])()
	}
	time.Sleep(lease)
	returned := d.disrupt(away, staying[0], dying, polls)
	all := append(kept, staying[0].streams[len(staying[0].streams)-1])
	d.recovered(returned, readers, all, staying, dying)
	sweep(polls, "in the end")
	for _, p := range polls {
		p.end()
	}
}

func sweep(polls []*poll, when string) {
	for _, p := range polls {
		p.sweep(when)
	}
}

// disrupt has the engine away for a while, in which a node publishes one stream more and
// another is closed. It returns when the engine was back.
func (d *engineTest) disrupt(away func(*testing.T) (back func()), staying, dying *announcer, polls []*poll) (returned time.Time) {
	began, back := time.Now(), once(away(d.t))
	defer back()
	time.Sleep(d.e.Lease / 2)
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		dying.close() // which tries to take back what it announces
	}()
	staying.publish("late")
	sweep(polls, "while the engine is away")
	time.Sleep(time.Until(began.Add(d.e.Away)))
	sweep(polls, "at the end of the outage")
	back()
	returned = time.Now()
	sweep(polls, "at the return")
	time.Sleep(look) // leases that ended at the return are over, and most renewals are not due
	sweep(polls, "a moment after the return")
	select {
	case <-closed:
	case <-time.After(d.e.Away + patience):
		d.t.Fatal("a node that was closed while the engine was away waits for its directory")
	}
	return returned
}

// recovered wants everything that is published to be found soon after the return, by a
// node that starts then as well, and what has ended to be gone.
func (d *engineTest) recovered(returned time.Time, readers []cdn.Directory, all []cdn.StreamID, staying []*announcer, dying *announcer) {
	lease := d.e.Lease
	for _, r := range readers {
		d.within(returned.Add(lease/3+soon), "after the return", func() error { return d.finds(r, all, staying...) })
	}
	d.t.Logf("everything is found %v after the return", time.Since(returned).Round(time.Millisecond))
	time.Sleep(time.Until(returned.Add(lease/3 + soon - fresh)))
	opened := time.Now()
	late := d.open()
	d.within(opened.Add(fresh), "a node that starts after the return", func() error { return d.finds(late, all, staying...) })
	for _, r := range append(readers, late) {
		limit := returned
		if r == late {
			limit = opened
		}
		d.within(limit.Add(lease+soon), "what ended meanwhile", func() error { return d.findsNone(r, dying) })
	}
}

// watchAlways watches a stream that is announced all the time, until stop is called, and
// wants it never to be told gone. A watch may end with an error; then another begins.
func (d *engineTest) watchAlways(dir cdn.Directory, id cdn.StreamID) (stop func()) {
	w, ok := dir.(cdn.Watcher)
	if !ok {
		return func() {}
	}
	ctx, cancel := context.WithCancel(d.t.Context())
	var work sync.WaitGroup
	work.Go(func() {
		for ctx.Err() == nil {
			for entries, err := range w.Watch(ctx, id) {
				if err == nil && len(entries) == 0 && ctx.Err() == nil {
					d.t.Errorf("Watch of %s yields no entry, though it is announced all the time", id)
					return
				}
			}
			select {
			case <-ctx.Done():
			case <-time.After(look):
			}
		}
	})
	return func() {
		cancel()
		work.Wait()
	}
}

// messages counts what the return of the engine costs.
func (d *engineTest) messages(away func(*testing.T) (back func())) {
	window := d.e.Lease/3 + soon
	origins := d.announce(4, d.e.Streams)
	r := d.open()
	d.within(time.Now().Add(window), "before the outage", func() error { return d.finds(r, streamsOf(origins...), origins...) })
	p := d.poll("one", r, streamsOf(origins...), origins...)
	defer p.end()
	time.Sleep(d.e.Lease)

	before := d.e.Messages(d.t)
	p.sweep("before the outage")
	time.Sleep(window)
	steady := d.e.Messages(d.t) - before

	before = d.e.Messages(d.t)
	back := once(away(d.t))
	defer back()
	time.Sleep(d.e.Away)
	back()
	if d.e.Messages(d.t) < before { // it counts from 0 again
		before = 0
	}
	p.sweep("at the return")
	time.Sleep(window)
	after := d.e.Messages(d.t) - before
	d.t.Logf("%d messages in the %v after the return, %d in as long a time before", after, window, steady)
	if steady == 0 || after > 2*steady {
		d.t.Errorf("%d messages in the %v after the return, want no more than twice those in as long a time before, %d", after, window, steady)
	}
}

// endedContexts asks while the engine is away: whatever that is, its context ends it.
func (d *engineTest) endedContexts(away func(*testing.T) (back func())) {
	const short = 300 * time.Millisecond
	a, b := d.open(), d.open()
	known, other := d.entry("known", "a", 1), d.entry("other", "a", 1)
	d.put(a, known, ttl)
	d.within(time.Now().Add(soon), "before the outage", d.has1(b, "known", "a"))
	back := once(away(d.t))
	defer back()
	calls := map[string]func(context.Context) error{
		"Put":    func(ctx context.Context) error { return a.Put(ctx, other, ttl) },
		"Remove": func(ctx context.Context) error { return a.Remove(ctx, d.entry("another", "a", 1)) },
		"Find":   func(ctx context.Context) error { _, err := b.Find(ctx, known.Stream); return err },
		"Find of what is not known": func(ctx context.Context) error {
			_, err := b.Find(ctx, d.stream("unknown"))
			return err
		},
	}
	if n, ok := b.(cdn.NodeDirectory); ok {
		calls["PutNode"] = func(ctx context.Context) error {
			return n.PutNode(ctx, cdn.NodeEntry{Node: d.nodeID("b"), URL: "http://b"}, d.e.Lease)
		}
		calls["RemoveNode"] = func(ctx context.Context) error { return n.RemoveNode(ctx, d.nodeID("c")) }
		calls["Nodes"] = func(ctx context.Context) error { _, err := n.Nodes(ctx); return err }
	}
	for range 2 { // what hangs may be the first of all, or the second
		for name, call := range calls {
			ctx, cancel := context.WithTimeout(d.t.Context(), short)
			_, err := bounded(d, func() (any, error) { return nil, call(ctx) })
			cancel()
			if errors.Is(err, errHangs) {
				d.t.Errorf("%s with a context that ends after %v: %v", name, short, err)
			}
		}
	}
	back()
	d.within(time.Now().Add(soon), "after the return", func() error {
		ctx, cancel := context.WithTimeout(d.t.Context(), answer)
		defer cancel()
		if _, err := bounded(d, func() (any, error) { return nil, a.Put(ctx, other, ttl) }); err != nil {
			return err
		}
		return d.has(b, "other", "a")
	})
}
