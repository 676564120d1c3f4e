package cdntest

import (
	"errors"
	"fmt"
	"reflect"
	"sync"
	"time"

	"github.com/deltacdn/delta/cdn"
)

func othersFind(d *engineTest) {
	a, b := d.open(), d.open()
	e := d.entry("live", "a", 1)
	d.put(a, e, ttl)
	d.within(time.Now().Add(soon), "what one node puts, another finds", func() error {
		entries, err := d.find(b, e.Stream)
		if err != nil || len(entries) != 1 || !reflect.DeepEqual(plain(entries)[0], e) {
			return fmt.Errorf("found %s, want %+v", described(entries, err), e)
		}
		return nil
	})
	d.put(b, d.entry("live", "b", 1), ttl)
	d.within(time.Now().Add(soon), "both nodes' entries", all(d.has1(a, "live", "a", "b"), d.has1(b, "live", "a", "b")))
	d.remove(a, e)
	d.within(time.Now().Add(soon), "what one node removes, no other finds", all(d.has1(a, "live", "b"), d.has1(b, "live", "b")))
	d.put(a, d.entry("live", "a", 2), ttl) // the same publication
	d.within(time.Now().Add(soon), "a higher epoch removes the entries of others", all(d.has1(a, "live", "a"), d.has1(b, "live", "a")))
	if err := stale(b.Put(d.t.Context(), d.entry("live", "b", 1), ttl)); err != nil {
		d.t.Error(err)
	}
	n, ok := a.(cdn.NodeDirectory)
	if !ok {
		return
	}
	hasNode := func(want bool) func() error {
		return func() error {
			nodes, err := d.findNodes(b.(cdn.NodeDirectory))
			for _, n := range nodes {
				if n.Node == d.nodeID("a") && want {
					return err
				}
				if n.Node == d.nodeID("a") {
					err = errors.New("it is found")
				}
			}
			if want && err == nil {
				err = fmt.Errorf("it is not among %+v", nodes)
			}
			return err
		}
	}
	if err := n.PutNode(d.t.Context(), cdn.NodeEntry{Node: d.nodeID("a"), URL: "https://a"}, ttl); err != nil {
		d.t.Fatalf("PutNode: %v", err)
	}
	d.within(time.Now().Add(soon), "a node is found by another", hasNode(true))
	if err := n.RemoveNode(d.t.Context(), d.nodeID("a")); err != nil {
		d.t.Fatalf("RemoveNode: %v", err)
	}
	d.within(time.Now().Add(soon), "a node that was removed", hasNode(false))
}

// freshNodeFinds starts a node where many streams run.
func freshNodeFinds(d *engineTest) {
	origins := d.announce(4, d.e.Streams)
	settled := d.open()
	d.within(time.Now().Add(d.e.Lease/3+soon), "all streams are announced", func() error {
		return d.finds(settled, streamsOf(origins...), origins...)
	})
	for range 2 {
		begun := time.Now()
		dir := d.open()
		d.within(begun.Add(fresh), "a node that starts finds all", func() error { return d.finds(dir, streamsOf(origins...), origins...) })
		d.t.Logf("everything is found %v after the start", time.Since(begun).Round(time.Millisecond))
		time.Sleep(d.e.Lease / 7)
	}
}

// twoWriters has a publication taken over by many at once, through several nodes' views.
func twoWriters(d *engineTest) {
	const takers = 16
	dirs := []cdn.Directory{d.open(), d.open(), d.open()}
	var wg sync.WaitGroup
	for epoch := range uint64(takers) {
		wg.Go(func() {
			e := d.entry("live", fmt.Sprintf("taker-%d", epoch), epoch+1)
			err := dirs[epoch%3].Put(d.t.Context(), e, ttl)
			if err != nil && (epoch == takers-1 || !errors.Is(err, cdn.ErrStale)) {
				d.t.Errorf("Put with epoch %d of %d: %v", epoch+1, takers, err)
			}
		})
	}
	wg.Wait()
	highest := fmt.Sprintf("taker-%d", takers-1)
	agreed := all(d.has1(dirs[0], "live", highest), d.has1(dirs[1], "live", highest), d.has1(dirs[2], "live", highest))
	d.within(time.Now().Add(soon), "the highest epoch wins", agreed)
	opened := time.Now()
	late := d.open()
	d.within(opened.Add(fresh), "for a node that starts, too", d.has1(late, "live", highest))
	for _, dir := range append(dirs, late) {
		if err := stale(dir.Put(d.t.Context(), d.entry("live", "late", 1), ttl)); err != nil {
			d.t.Error(err)
		}
	}
	d.until(time.Now().Add(soon), "it stays so", all(agreed, d.has1(late, "live", highest)))
}

// twoWritersOfOneNode has two processes take themselves for one node.
func twoWritersOfOneNode(d *engineTest) {
	dirs := []cdn.Directory{d.open(), d.open(), d.open()}
	for round := range 8 {
		stream := fmt.Sprintf("live-%d", round)
		var wg sync.WaitGroup
		for i, dir := range dirs[:2] {
			wg.Go(func() {
				e := d.entry(stream, "twin", 1)
				e.Publication, e.URL = fmt.Sprintf("p-%d", i), fmt.Sprintf("https://twin-%d.example.com", i)
				if err := dir.Put(d.t.Context(), e, ttl); err != nil {
					d.t.Errorf("Put: %v", err)
				}
			})
		}
		wg.Wait()
		agree := func() error {
			var first []cdn.Entry
			for i, dir := range dirs {
				entries, err := d.find(dir, d.stream(stream))
				switch {
				case err != nil:
					return err
				case len(entries) != 1:
					return fmt.Errorf("node %d finds %+v, want one entry", i, entries)
				case i > 0 && !reflect.DeepEqual(plain(entries), plain(first)):
					return fmt.Errorf("one node finds %+v, another %+v", first, entries)
				}
				first = entries
			}
			return nil
		}
		d.within(time.Now().Add(soon), "all agree on one of the two", agree)
		d.until(time.Now().Add(10*look), "all agree on one of the two", agree)
	}
}

// leaseNotKept has the engine keep what it should forget.
func leaseNotKept(d *engineTest) {
	lease := d.e.Lease
	a, b := d.open(), d.open()
	d.keep(a, d.entry("kept", "a", 1))
	put := time.Now()
	d.put(a, d.entry("left", "a", 1), lease)
	d.within(time.Now().Add(min(soon, lease/2)), "both are found", all(d.has1(b, "kept", "a"), d.has1(b, "left", "a")))
	d.e.Persist(d.t)
	kept := all(d.has1(a, "kept", "a"), d.has1(b, "kept", "a"))
	left := all(d.has1(a, "left"), d.has1(b, "left"))
	d.until(put.Add(lease), "what is renewed is found", kept)
	d.within(put.Add(lease+soon), "a lease that ran out", all(kept, left))
	opened := time.Now()
	late := d.open()
	d.until(time.Now().Add(lease/2), "it is over, and stays so, however often it is read", all(kept, left))
	d.within(opened.Add(lease+soon), "for a node that starts, it is over a lease later", d.has1(late, "left"))
	d.until(time.Now().Add(lease), "it stays so", all(kept, left, d.has1(late, "left"), d.has1(late, "kept", "a")))
}

// oldValueReturns has the engine say again what was superseded.
func oldValueReturns(d *engineTest) {
	lease := d.e.Lease
	a, b, r := d.open(), d.open(), d.open()
	stop := d.keep(a, d.entry("taken", "a", 5))
	loaded := d.entry("loaded", "a", 5)
	loaded.Load = 0.25
	stopLoaded := d.keep(a, loaded)
	node := cdn.NodeEntry{Node: d.nodeID("a"), URL: "https://a"}
	stopNode := func() {}
	nodes, recordsNodes := a.(cdn.NodeDirectory)
	if recordsNodes {
		stopNode = d.keepNode(nodes, node)
	}
	d.within(time.Now().Add(soon), "the old values are found", all(d.has1(r, "taken", "a"), d.has1(r, "loaded", "a")))
	replay := d.e.Record(d.t)

	stop()
	stopLoaded()
	stopNode()
	d.keep(b, d.entry("taken", "b", 6))
	loaded.Load = 0.75
	d.keep(a, loaded)
	node.Draining = true
	if recordsNodes {
		d.keepNode(nodes, node)
	}
	newest := func(dir cdn.Directory) func() error {
		return func() error {
			entries, err := d.find(dir, loaded.Stream)
			if err != nil || len(entries) != 1 || entries[0].Load != loaded.Load {
				return fmt.Errorf("found %s, want a load of %v", described(entries, err), loaded.Load)
			}
			if !recordsNodes {
				return nil
			}
			all, err := d.findNodes(dir.(cdn.NodeDirectory))
			for _, n := range all {
				if n.Node == node.Node && n.Draining {
					return err
				}
			}
			return fmt.Errorf("found %s, want node %s draining", described(all, err), node.Node)
		}
	}
	taken := all(d.has1(a, "taken", "b"), d.has1(b, "taken", "b"), d.has1(r, "taken", "b"))
	d.within(time.Now().Add(soon), "the new values are found", all(taken, newest(a), newest(r)))

	replay()
	replayed := time.Now()
	late := d.open()
	d.until(replayed.Add(lease/3+soon), "a lower epoch does not come back", taken)
	if err := stale(a.Put(d.t.Context(), d.entry("taken", "a", 5), lease)); err != nil {
		d.t.Error(err)
	}
	d.within(replayed.Add(lease/3+soon+look), "the newest value is found", all(newest(a), newest(r), newest(late), d.has1(late, "taken", "b")))
	d.until(time.Now().Add(lease), "it stays so", all(taken, d.has1(late, "taken", "b"), newest(a), newest(r), newest(late)))
}

// removedValueReturns has the engine say again what was removed.
func removedValueReturns(d *engineTest) {
	lease := d.e.Lease
	a, r := d.open(), d.open()
	e := d.entry("gone", "a", 1)
	d.put(a, e, lease)
	d.within(time.Now().Add(min(soon, lease/2)), "it is found", d.has1(r, "gone", "a"))
	replay := d.e.Record(d.t)
	d.remove(a, e)
	d.within(time.Now().Add(soon), "it is removed", d.has1(r, "gone"))
	replay()
	replayed := time.Now()
	late := d.open()
	time.Sleep(time.Until(replayed.Add(lease + soon)))
	d.until(time.Now().Add(lease), "what was removed lives no longer than its lease", all(d.has1(a, "gone"), d.has1(r, "gone"), d.has1(late, "gone")))
}

// watchGap has one node miss what others say for half a lease.
func watchGap(d *engineTest) {
	lease := d.e.Lease
	a, r := d.open(), d.open()
	changed := d.entry("live", "a", 1)
	removed, added := changed, changed
	removed.Node, added.Node = d.nodeID("b"), d.nodeID("c")
	stopChanged := d.keep(a, changed)
	stopRemoved := d.keep(a, removed)
	d.within(time.Now().Add(soon), "both are found", d.has1(r, "live", "a", "b"))
	var w *watching
	if _, ok := r.(cdn.Watcher); ok {
		w = (&dirTest{t: d.t, dir: r, stream: d.stream("live")}).watch()
		defer w.stop()
		w.wait(d.nodeID("a"), d.nodeID("b"))
	} else {
		d.t.Log("NOT COVERED: Watch, which these directories do not have")
	}

	hear := once(d.e.Deafen(d.t, r))
	defer hear()
	time.Sleep(lease / 8)
	stopChanged()
	stopRemoved()
	d.remove(a, removed)
	changed.Load = 0.75
	d.keep(a, changed)
	d.keep(a, added)
	time.Sleep(lease / 4)
	hear()
	heard := time.Now()
	d.within(heard.Add(lease/3+soon), "what was put in the gap", func() error {
		entries, err := d.find(r, d.stream("live"))
		found := map[cdn.NodeID]float64{}
		for _, e := range entries {
			found[e.Node] = e.Load
		}
		if _, ok := found[added.Node]; !ok || found[changed.Node] != changed.Load {
			return fmt.Errorf("found %s, want %s with a load of %v, and %s", described(entries, err), changed.Node, changed.Load, added.Node)
		}
		return nil
	})
	d.within(heard.Add(lease+soon), "what was removed in the gap", d.has1(r, "live", "a", "c"))
	if w != nil {
		w.wait(d.nodeID("a"), d.nodeID("c"))
	}
}

// clocksApart has nodes whose clocks say something else.
func clocksApart(d *engineTest) {
	lease := d.e.Lease
	a, r := d.open(), d.open()
	early, late := d.e.OpenSkewed(d.t, -time.Hour), d.e.OpenSkewed(d.t, time.Hour)
	dirs := []cdn.Directory{a, early, late}
	readers := append(dirs, r)
	put := time.Now()
	var kept, left []func() error
	there := all()
	for i, dir := range dirs {
		name := []string{"a", "early", "late"}[i]
		d.keep(dir, d.entry("kept-"+name, name, 1))
		d.put(dir, d.entry("left-"+name, name, 1), lease)
		for _, r := range readers {
			kept = append(kept, d.has1(r, "kept-"+name, name))
			left = append(left, d.has1(r, "left-"+name))
			there = all(there, d.has1(r, "left-"+name, name))
		}
	}
	d.within(put.Add(min(soon, lease/3)), "all is found by all", all(all(kept...), there))
	d.until(put.Add(lease*3/4), "it stays so for its lease", all(all(kept...), there))
	d.within(put.Add(lease+soon), "leases run out", all(all(kept...), all(left...)))
	opened := time.Now()
	fast := d.e.OpenSkewed(d.t, time.Hour)
	d.within(opened.Add(fresh), "a node that starts finds what is there", all(
		d.has1(fast, "kept-a", "a"), d.has1(fast, "kept-early", "early"), d.has1(fast, "kept-late", "late")))
	d.until(time.Now().Add(lease), "it stays so", all(all(kept...), all(left...)))
	d.put(early, cdn.Entry{Stream: d.stream("left-late"), Node: d.nodeID("early"), URL: "https://early", Publication: "p-left-late", Epoch: 2}, ttl)
	d.within(time.Now().Add(soon), "epochs do not depend on clocks", all(d.has1(a, "left-late", "early"), d.has1(late, "left-late", "early")))
}
