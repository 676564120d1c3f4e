package cdntest

import (
	"time"

	"github.com/deltacdn/delta/cdn"
)

func leaseRunsOut(d *dirTest) {
	short, long := d.entry("short"), d.entry("long")
	d.put(long)
	d.putFor(short, 2*time.Second)
	d.wantNodes("long", "short")
	d.eventually(func() bool { return d.finds("long") })

	d.putFor(long, 2*time.Second) // the last lease counts, also when it ends sooner
	d.wantNodes("long")
	d.eventually(func() bool { return d.finds() })
}

func renewalKeeps(d *dirTest) {
	const lease = 3 * time.Second
	e := d.entry("node")
	for range 4 {
		d.putFor(e, lease)
		time.Sleep(lease / 3)
		d.wantEntries(e)
	}
	d.eventually(func() bool { return d.finds() })
}

func removeOwnEpochOnly(d *dirTest) {
	e := d.entry("node")
	e.Epoch = 5
	d.put(e)
	for _, epoch := range []uint64{4, 6} {
		other := e
		other.Epoch = epoch
		d.remove(other)
		d.wantEntries(e)
	}
	d.remove(cdn.Entry{Stream: e.Stream, Node: "another", Epoch: e.Epoch})
	d.wantEntries(e)
	d.remove(cdn.Entry{Stream: e.Stream, Node: e.Node, Epoch: e.Epoch})
	d.wantNodes()
	d.remove(e) // again: no error
}

func staleEpochRefused(d *dirTest) {
	e := d.entry("node")
	e.Epoch = 5
	d.put(e)
	for _, node := range []cdn.NodeID{"node", "other"} {
		stale := e
		stale.Node, stale.Epoch, stale.URL = node, 4, "https://stale.example.com"
		d.wantError("Put", d.dir.Put(d.t.Context(), stale, ttl), cdn.ErrStale)
		d.wantEntries(e)
	}
	d.put(e) // its own epoch is not stale
}

func higherEpochRemovesLower(d *dirTest) {
	for _, node := range []cdn.NodeID{"a", "b", "taker"} {
		d.put(d.entry(node))
	}
	apart := d.entry("apart")
	apart.Publication = "another"
	d.put(apart)
	taker := d.entry("taker")
	taker.Epoch++
	d.put(taker)
	d.wantNodes("apart", "taker")
	d.wantError("Put", d.dir.Put(d.t.Context(), d.entry("a"), ttl), cdn.ErrStale)
}

func onePublicationSeveralNodes(d *dirTest) {
	for i, node := range []cdn.NodeID{"a", "b", "c"} {
		e := d.entry(node)
		e.Hops = i
		d.put(e)
	}
	d.wantNodes("a", "b", "c")
	d.remove(d.entry("b"))
	d.wantNodes("a", "c")
}

func publicationsAreNotCompared(d *dirTest) {
	one, other := d.entry("one"), d.entry("other")
	one.Publication, one.Epoch = "first", 9
	other.Publication, other.Epoch = "second", 1
	d.put(one)
	d.put(other)
	d.wantNodes("one", "other")
}
