// Package cdntest tests CDNs: a virtual network with delay, jitter and loss,
// publishers and viewers that check every byte, and the conformance tests of
// package cdn's contracts, for who implements one.
package cdntest

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/deltacdn/delta/cdn"
)

// TestDirectory tests that the directories which newDir returns keep the
// contract of [cdn.Directory], and those of [cdn.Watcher] and [cdn.NodeDirectory] if
// they implement them. How several nodes' directories behave on one engine, and when
// that fails, is tested by [TestDirectoryEngine]. newDir is called once for each subtest, with that subtest's t, on which it
// can register what closes the directory. The directories may share a store,
// and the store may hold other streams and nodes: all that the test writes is under
// "cdntest/", with a random element, and of nodes whose names begin with "cdntest-".
//
// The test uses leases of a few seconds and polls, so that it suits stores
// across a network. Its subtests run in parallel and take some ten seconds.
func TestDirectory(t *testing.T, newDir func(t *testing.T) cdn.Directory) {
	for _, test := range directoryTests() {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(newDirTest(t, newDir))
		})
	}
}

// TestDirectoryInBubble is [TestDirectory] for directories that live in the
// memory of one process: each subtest runs in a bubble of [testing/synctest],
// and so takes no time. newDir is called within the bubble; a goroutine that
// the directory leaves behind fails the test.
func TestDirectoryInBubble(t *testing.T, newDir func(t *testing.T) cdn.Directory) {
	for _, test := range directoryTests() {
		t.Run(test.name, func(t *testing.T) {
			skipped := false
			synctest.Test(t, func(t *testing.T) {
				defer func() { skipped = t.Skipped() }()
				test.run(newDirTest(t, newDir))
			})
			if skipped { // out here: a bubble that is skipped counts as passed
				t.Skip("for the reason above")
			}
		})
	}
}

type directoryTest struct {
	name string
	run  func(d *dirTest)
}

func directoryTests() []directoryTest {
	return []directoryTest{
		{"FindNothing", findNothing},
		{"PutFind", putFind},
		{"StreamsApart", streamsApart},
		{"NodesApart", nodesApart},
		{"NearestFirst", nearestFirst},
		{"PutReplaces", putReplaces},
		{"CopiesEntries", copiesEntries},
		{"LeaseRunsOut", leaseRunsOut},
		{"RenewalKeeps", renewalKeeps},
		{"RemoveOwnEpochOnly", removeOwnEpochOnly},
		{"StaleEpochRefused", staleEpochRefused},
		{"HigherEpochRemovesLower", higherEpochRemovesLower},
		{"OnePublicationSeveralNodes", onePublicationSeveralNodes},
		{"PublicationsAreNotCompared", publicationsAreNotCompared},
		{"ConcurrentEpochs", concurrentEpochs},
		{"ConcurrentNodes", concurrentNodes},
		{"EndedContext", endedContext},
		{"WatchTellsChanges", watchTellsChanges},
		{"WatchTellsExpiry", watchTellsExpiry},
		{"WatchEnds", watchEnds},
		{"NodesPutFind", nodesPutFind},
		{"NodesPutReplaces", nodesPutReplaces},
		{"NodesCopies", nodesCopies},
		{"NodesInOrder", nodesInOrder},
		{"NodesOfLikeNames", nodesOfLikeNames},
		{"NodesAreNoEntries", nodesAreNoEntries},
		{"NodesLeaseRunsOut", nodesLeaseRunsOut},
		{"NodesRenewalKeeps", nodesRenewalKeeps},
		{"NodesInvalid", nodesInvalid},
		{"NodesConcurrent", nodesConcurrent},
		{"NodesEndedContext", nodesEndedContext},
	}
}

func findNothing(d *dirTest) {
	d.wantNodes()
}

func putFind(d *dirTest) {
	e := d.entry("node")
	d.put(e)
	d.wantEntries(e)
	d.remove(e)
	least := cdn.Entry{Stream: d.stream, Node: "least", URL: "http://least"}
	d.put(least)
	d.wantEntries(least)
}

// streamsApart catches keys of which one is a prefix of the other.
func streamsApart(d *dirTest) {
	names := []cdn.StreamID{d.stream, d.stream + "1", d.stream + "/1", d.stream + "/1/1"}
	for i, name := range names {
		e := d.entry("node")
		e.Stream, e.Hops = name, i
		d.put(e)
	}
	for i, name := range names {
		got := d.findOf(name)
		if len(got) != 1 || got[0].Stream != name || got[0].Hops != i {
			d.t.Fatalf("Find(%q) = %+v, want the one entry of that stream", name, got)
		}
	}
	d.remove(d.entry("node"))
	d.wantNodes()
	for _, name := range names[1:] {
		if got := d.findOf(name); len(got) != 1 {
			d.t.Fatalf("after an entry of %q was removed, Find(%q) = %+v, want one entry", d.stream, name, got)
		}
	}
}

func nodesApart(d *dirTest) {
	for i, node := range []cdn.NodeID{"n", "n1", "n:1"} {
		e := d.entry(node)
		e.Hops = i
		d.put(e)
	}
	d.wantNodes("n", "n1", "n:1")
	d.remove(d.entry("n"))
	d.wantNodes("n1", "n:1")
}

func nearestFirst(d *dirTest) {
	for _, hops := range []int{2, 10, 0, 1} {
		e := d.entry(cdn.NodeID([]string{2: "b", 10: "a", 0: "d", 1: "c"}[hops]))
		e.Hops = hops
		d.put(e)
	}
	d.wantNodes("d", "c", "b", "a")
}

func putReplaces(d *dirTest) {
	e := d.entry("node")
	d.put(e)
	e.URL, e.Load, e.Hops, e.Latency = "https://other.example.com", 0.5, 3, 7*time.Millisecond
	e.Path = append(e.Path, "third")
	e.Tracks = e.Tracks[:1]
	d.put(e)
	d.wantEntries(e)
	e.Publication, e.Epoch = "another", 1
	d.put(e)
	d.wantEntries(e)
}

func copiesEntries(d *dirTest) {
	given := d.entry("node")
	d.put(given)
	given.Tracks[0].ID, given.Tracks[1].Layers[0], given.Path[0] = "changed", "changed", "changed"
	d.wantEntries(d.entry("node"))
	got := d.find()
	got[0].Tracks[0].ID, got[0].Tracks[1].Layers[0], got[0].Path[0] = "changed", "changed", "changed"
	d.wantEntries(d.entry("node"))
}

func endedContext(d *dirTest) {
	there, other := d.entry("there"), d.entry("other")
	d.put(there)
	ctx, cancel := context.WithCancel(d.t.Context())
	cancel()
	d.wantError("Put", d.dir.Put(ctx, other, ttl), context.Canceled)
	d.wantError("Remove", d.dir.Remove(ctx, there), context.Canceled)
	_, err := d.dir.Find(ctx, d.stream)
	d.wantError("Find", err, context.Canceled)
	d.wantNodes("there")
}
