package cdntest

import (
	"context"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/deltacdn/delta/cdn"
)

// nodeDir returns the test's directory as one of nodes.
func (d *dirTest) nodeDir() cdn.NodeDirectory {
	n, ok := d.dir.(cdn.NodeDirectory)
	if !ok {
		d.t.Skip("not a cdn.NodeDirectory")
	}
	return n
}

// nodeID returns the name of a node that is this test's own.
func (d *dirTest) nodeID(name string) cdn.NodeID {
	return cdn.NodeID("cdntest-" + strings.TrimPrefix(string(d.stream), "cdntest/") + "-" + name)
}

// nodeEntry returns the entry of a node, with all fields set. It is equal to, and shares
// nothing with, what it returned before.
func (d *dirTest) nodeEntry(name string) cdn.NodeEntry {
	return cdn.NodeEntry{
		Node: d.nodeID(name), URL: "https://" + name + ".example.com:8443/delta",
		Addrs: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:7000"), netip.MustParseAddrPort("[2001:db8::1]:7000")},
		Roles: cdn.RoleRelay | cdn.RoleEdge, Group: "eu-1", Load: 0.25, Draining: true,
		Origins: []cdn.OriginLatency{{Origin: "near", Latency: 1250 * time.Microsecond}, {Origin: "far", Latency: 80 * time.Millisecond}},
	}
}

func (d *dirTest) putNode(n cdn.NodeEntry, lease time.Duration) {
	d.t.Helper()
	if err := d.nodeDir().PutNode(d.t.Context(), n, lease); err != nil {
		d.t.Fatalf("PutNode of %s: %v", n.Node, err)
	}
}

func (d *dirTest) removeNode(name string) {
	d.t.Helper()
	if err := d.nodeDir().RemoveNode(d.t.Context(), d.nodeID(name)); err != nil {
		d.t.Fatalf("RemoveNode of %s: %v", name, err)
	}
}

// nodes returns what the directory says now of the test's own nodes.
func (d *dirTest) nodes() []cdn.NodeEntry {
	d.t.Helper()
	all, err := d.nodeDir().Nodes(d.t.Context())
	if err != nil {
		d.t.Fatalf("Nodes: %v", err)
	}
	if !slices.IsSortedFunc(all, func(a, b cdn.NodeEntry) int { return strings.Compare(string(a.Node), string(b.Node)) }) {
		d.t.Fatalf("Nodes = %+v, want them in the order of their names", all)
	}
	return slices.DeleteFunc(all, func(n cdn.NodeEntry) bool { return !strings.HasPrefix(string(n.Node), string(d.nodeID(""))) })
}

// hasNodes reports whether the directory has entries of just these of the test's nodes.
func (d *dirTest) hasNodes(names ...string) bool {
	d.t.Helper()
	var got, want []cdn.NodeID
	for _, n := range d.nodes() {
		got = append(got, n.Node)
	}
	for _, name := range names {
		want = append(want, d.nodeID(name))
	}
	slices.Sort(want)
	return slices.Equal(got, want)
}

func (d *dirTest) wantNodeEntries(want ...cdn.NodeEntry) {
	d.t.Helper()
	got := d.nodes()
	for i := range got {
		if len(got[i].Addrs) == 0 {
			got[i].Addrs = nil
		}
		if len(got[i].Origins) == 0 {
			got[i].Origins = nil
		}
	}
	if len(got) != len(want) || len(got) > 0 && !reflect.DeepEqual(got, want) {
		d.t.Fatalf("Nodes =\n%+v, want\n%+v", got, want)
	}
}

func nodesPutFind(d *dirTest) {
	d.wantNodeEntries()
	n := d.nodeEntry("a")
	d.putNode(n, ttl)
	d.wantNodeEntries(n)
	d.removeNode("another")
	d.wantNodeEntries(n)
	d.removeNode("a")
	d.wantNodeEntries()
	d.removeNode("a") // again: no error
	least := cdn.NodeEntry{Node: d.nodeID("least"), URL: "http://least"}
	d.putNode(least, ttl)
	d.wantNodeEntries(least)
}

func nodesPutReplaces(d *dirTest) {
	n := d.nodeEntry("a")
	d.putNode(n, ttl)
	n.URL, n.Roles, n.Group, n.Load, n.Draining = "https://other.example.com", cdn.RoleOrigin, "", 1, false
	n.Addrs, n.Origins = n.Addrs[:1], append(n.Origins, cdn.OriginLatency{Origin: "third", Latency: time.Millisecond})
	d.putNode(n, ttl)
	d.wantNodeEntries(n)
}

func nodesCopies(d *dirTest) {
	given := d.nodeEntry("a")
	d.putNode(given, ttl)
	given.Addrs[0], given.Origins[0].Origin = netip.AddrPort{}, "changed"
	d.wantNodeEntries(d.nodeEntry("a"))
	got := d.nodes()
	got[0].Addrs[0], got[0].Origins[0].Origin = netip.AddrPort{}, "changed"
	d.wantNodeEntries(d.nodeEntry("a"))
}

func nodesInOrder(d *dirTest) {
	for _, name := range []string{"c", "a", "d", "b"} {
		d.putNode(d.nodeEntry(name), ttl)
	}
	d.wantNodeEntries(d.nodeEntry("a"), d.nodeEntry("b"), d.nodeEntry("c"), d.nodeEntry("d"))
}

// nodesOfLikeNames catches keys of which one is a prefix of the other.
func nodesOfLikeNames(d *dirTest) {
	for _, name := range []string{"n", "n1", "n:1"} {
		d.putNode(d.nodeEntry(name), ttl)
	}
	d.removeNode("n")
	d.wantNodeEntries(d.nodeEntry("n1"), d.nodeEntry("n:1"))
}

// nodesAreNoEntries: what a node says of itself and of its streams is apart.
func nodesAreNoEntries(d *dirTest) {
	e := d.entry(d.nodeID("a"))
	d.put(e)
	d.wantNodeEntries()
	d.putNode(d.nodeEntry("a"), ttl)
	d.putNode(d.nodeEntry("b"), ttl)
	d.wantEntries(e)
	d.removeNode("a")
	d.wantEntries(e)
	d.remove(e)
	d.wantNodeEntries(d.nodeEntry("b"))
}

func nodesLeaseRunsOut(d *dirTest) {
	short, long := d.nodeEntry("short"), d.nodeEntry("long")
	d.putNode(long, ttl)
	d.putNode(short, 2*time.Second)
	d.wantNodeEntries(long, short)
	d.eventually(func() bool { return d.hasNodes("long") })

	d.putNode(long, 2*time.Second) // the last lease counts, also when it ends sooner
	d.wantNodeEntries(long)
	d.eventually(func() bool { return d.hasNodes() })
}

func nodesRenewalKeeps(d *dirTest) {
	const lease = 3 * time.Second
	n := d.nodeEntry("a")
	for range 4 {
		d.putNode(n, lease)
		time.Sleep(lease / 3)
		d.wantNodeEntries(n)
	}
	d.eventually(func() bool { return d.hasNodes() })
}

func nodesInvalid(d *dirTest) {
	n := d.nodeEntry("a")
	n.Node = ""
	d.wantError("PutNode without a node", d.nodeDir().PutNode(d.t.Context(), n, ttl), cdn.ErrInvalid)
	d.wantNodeEntries()
}

// nodesConcurrent lets many nodes come and go at once: at the end those are there that
// wanted to stay.
func nodesConcurrent(d *dirTest) {
	const nodes = 32
	dir := d.nodeDir()
	var wg sync.WaitGroup
	var want []cdn.NodeEntry
	for i := range nodes {
		n := d.nodeEntry(string([]byte{'n', byte('a' + i/26), byte('a' + i%26)}))
		stays := i%2 == 0
		if stays {
			want = append(want, n)
		}
		wg.Go(func() { d.nodeComesAndGoes(dir, n, stays) })
	}
	wg.Wait()
	d.wantNodeEntries(want...)
}

func (d *dirTest) nodeComesAndGoes(dir cdn.NodeDirectory, n cdn.NodeEntry, stays bool) {
	ctx := d.t.Context()
	for i := range 10 {
		if err := dir.PutNode(ctx, n, ttl); err != nil {
			d.t.Errorf("PutNode of %s: %v", n.Node, err)
		}
		if _, err := dir.Nodes(ctx); err != nil {
			d.t.Errorf("Nodes: %v", err)
		}
		if stays && i == 9 {
			return
		}
		if err := dir.RemoveNode(ctx, n.Node); err != nil {
			d.t.Errorf("RemoveNode of %s: %v", n.Node, err)
		}
	}
}

func nodesEndedContext(d *dirTest) {
	dir := d.nodeDir()
	there, other := d.nodeEntry("there"), d.nodeEntry("other")
	d.putNode(there, ttl)
	ctx, cancel := context.WithCancel(d.t.Context())
	cancel()
	d.wantError("PutNode", dir.PutNode(ctx, other, ttl), context.Canceled)
	d.wantError("RemoveNode", dir.RemoveNode(ctx, there.Node), context.Canceled)
	_, err := dir.Nodes(ctx)
	d.wantError("Nodes", err, context.Canceled)
	d.wantNodeEntries(there)
}
