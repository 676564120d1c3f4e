package cdntest_test

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/deltacdn/delta/cdn"
)

// faulty is a Memory with a fault: what is set takes the place of its methods.
type faulty struct {
	*cdn.Memory
	put        func(m *cdn.Memory, ctx context.Context, e cdn.Entry, ttl time.Duration) error
	remove     func(m *cdn.Memory, ctx context.Context, e cdn.Entry) error
	find       func(m *cdn.Memory, ctx context.Context, id cdn.StreamID) ([]cdn.Entry, error)
	watch      func(m *cdn.Memory, ctx context.Context, id cdn.StreamID) iter.Seq2[[]cdn.Entry, error]
	putNode    func(m *cdn.Memory, ctx context.Context, n cdn.NodeEntry, ttl time.Duration) error
	removeNode func(m *cdn.Memory, ctx context.Context, id cdn.NodeID) error
	nodes      func(m *cdn.Memory, ctx context.Context) ([]cdn.NodeEntry, error)
}

func (f *faulty) Put(ctx context.Context, e cdn.Entry, ttl time.Duration) error {
	if f.put == nil {
		return f.Memory.Put(ctx, e, ttl)
	}
	return f.put(f.Memory, ctx, e, ttl)
}

func (f *faulty) Remove(ctx context.Context, e cdn.Entry) error {
	if f.remove == nil {
		return f.Memory.Remove(ctx, e)
	}
	return f.remove(f.Memory, ctx, e)
}

func (f *faulty) Find(ctx context.Context, id cdn.StreamID) ([]cdn.Entry, error) {
	if f.find == nil {
		return f.Memory.Find(ctx, id)
	}
	return f.find(f.Memory, ctx, id)
}

func (f *faulty) Watch(ctx context.Context, id cdn.StreamID) iter.Seq2[[]cdn.Entry, error] {
	if f.watch == nil {
		return f.Memory.Watch(ctx, id)
	}
	return f.watch(f.Memory, ctx, id)
}

func (f *faulty) PutNode(ctx context.Context, n cdn.NodeEntry, ttl time.Duration) error {
	if f.putNode == nil {
		return f.Memory.PutNode(ctx, n, ttl)
	}
	return f.putNode(f.Memory, ctx, n, ttl)
}

func (f *faulty) RemoveNode(ctx context.Context, id cdn.NodeID) error {
	if f.removeNode == nil {
		return f.Memory.RemoveNode(ctx, id)
	}
	return f.removeNode(f.Memory, ctx, id)
}

func (f *faulty) Nodes(ctx context.Context) ([]cdn.NodeEntry, error) {
	if f.nodes == nil {
		return f.Memory.Nodes(ctx)
	}
	return f.nodes(f.Memory, ctx)
}

type faultyDirectory struct {
	dir     func() cdn.Directory
	notices []string
}

// faults are directories that break the contract, and the subtests that are to notice.
var faults = map[string]faultyDirectory{
	noneOf:   with(nil, func(*faulty) {}),
	"static": {func() cdn.Directory { return cdn.Static("https://o.example.com") }, []string{"FindNothing", "PutFind", "NodesPutFind"}},
	"no fencing": with([]string{"StaleEpochRefused", "HigherEpochRemovesLower", "ConcurrentEpochs"}, func(f *faulty) {
		f.put = func(m *cdn.Memory, ctx context.Context, e cdn.Entry, ttl time.Duration) error {
			e.Publication += string(e.Node) + time.Duration(e.Epoch).String()
			return m.Put(ctx, e, ttl)
		}
	}),
	"no lease": with([]string{"LeaseRunsOut", "RenewalKeeps", "WatchTellsExpiry", "NodesLeaseRunsOut", "NodesRenewalKeeps"}, func(f *faulty) {
		f.put = func(m *cdn.Memory, ctx context.Context, e cdn.Entry, _ time.Duration) error {
			return m.Put(ctx, e, time.Hour)
		}
		f.putNode = func(m *cdn.Memory, ctx context.Context, n cdn.NodeEntry, _ time.Duration) error {
			return m.PutNode(ctx, n, time.Hour)
		}
	}),
	"the first put counts": with([]string{"RenewalKeeps", "PutReplaces", "NodesPutReplaces", "NodesRenewalKeeps"}, func(f *faulty) {
		f.put = func(m *cdn.Memory, ctx context.Context, e cdn.Entry, ttl time.Duration) error {
			entries, _ := m.Find(ctx, e.Stream)
			if slices.ContainsFunc(entries, func(o cdn.Entry) bool { return o.Node == e.Node && o.Epoch == e.Epoch }) {
				return nil
			}
			return m.Put(ctx, e, ttl)
		}
		f.putNode = func(m *cdn.Memory, ctx context.Context, n cdn.NodeEntry, ttl time.Duration) error {
			nodes, _ := m.Nodes(ctx)
			if slices.ContainsFunc(nodes, func(o cdn.NodeEntry) bool { return o.Node == n.Node }) {
				return nil
			}
			return m.PutNode(ctx, n, ttl)
		}
	}),
	"removes whatever the node has": removing([]string{"RemoveOwnEpochOnly"}, func(o, e cdn.Entry) bool { return o.Node == e.Node }),
	"removes what begins so": removing([]string{"NodesApart"}, func(o, e cdn.Entry) bool {
		return strings.HasPrefix(string(o.Node), string(e.Node)) && o.Epoch == e.Epoch
	}),
	"removes nodes that begin so": with([]string{"NodesOfLikeNames"}, func(f *faulty) {
		f.removeNode = func(m *cdn.Memory, ctx context.Context, id cdn.NodeID) error {
			nodes, err := m.Nodes(ctx)
			for _, n := range nodes {
				if strings.HasPrefix(string(n.Node), string(id)) {
					err = m.RemoveNode(ctx, n.Node)
				}
			}
			return err
		}
	}),
	"removes a node with its streams": with([]string{"NodesAreNoEntries"}, func(f *faulty) {
		var all sync.Map
		f.put = func(m *cdn.Memory, ctx context.Context, e cdn.Entry, ttl time.Duration) error {
			all.Store(e.Node, e)
			return m.Put(ctx, e, ttl)
		}
		f.removeNode = func(m *cdn.Memory, ctx context.Context, id cdn.NodeID) error {
			if e, ok := all.Load(id); ok {
				_ = m.Remove(ctx, e.(cdn.Entry))
			}
			return m.RemoveNode(ctx, id)
		}
	}),
	"wrong order": with([]string{"NearestFirst", "NodesInOrder"}, func(f *faulty) {
		f.find = func(m *cdn.Memory, ctx context.Context, id cdn.StreamID) ([]cdn.Entry, error) {
			entries, err := m.Find(ctx, id)
			slices.SortFunc(entries, func(a, b cdn.Entry) int { return cmp.Compare(b.Hops, a.Hops) })
			return entries, err
		}
		f.nodes = func(m *cdn.Memory, ctx context.Context) ([]cdn.NodeEntry, error) {
			nodes, err := m.Nodes(ctx)
			slices.Reverse(nodes)
			return nodes, err
		}
	}),
	"no context": with([]string{"EndedContext", "NodesEndedContext"}, func(f *faulty) {
		f.put = func(m *cdn.Memory, ctx context.Context, e cdn.Entry, ttl time.Duration) error {
			return m.Put(context.WithoutCancel(ctx), e, ttl)
		}
		f.putNode = func(m *cdn.Memory, ctx context.Context, n cdn.NodeEntry, ttl time.Duration) error {
			return m.PutNode(context.WithoutCancel(ctx), n, ttl)
		}
	}),
	"one stream": with([]string{"StreamsApart"}, func(f *faulty) {
		f.put = func(m *cdn.Memory, ctx context.Context, e cdn.Entry, ttl time.Duration) error {
			e.Stream = "one"
			return m.Put(ctx, e, ttl)
		}
		f.find = func(m *cdn.Memory, ctx context.Context, _ cdn.StreamID) ([]cdn.Entry, error) {
			return m.Find(ctx, "one")
		}
	}),
	"one node a publication": with([]string{"OnePublicationSeveralNodes"}, func(f *faulty) {
		f.put = func(m *cdn.Memory, ctx context.Context, e cdn.Entry, ttl time.Duration) error {
			entries, _ := m.Find(ctx, e.Stream)
			for _, o := range entries {
				if o.Publication == e.Publication && o.Epoch == e.Epoch {
					_ = m.Remove(ctx, o)
				}
			}
			return m.Put(ctx, e, ttl)
		}
	}),
	"compares all epochs": with([]string{"PublicationsAreNotCompared"}, func(f *faulty) {
		f.put = func(m *cdn.Memory, ctx context.Context, e cdn.Entry, ttl time.Duration) error {
			e.Publication = "one"
			return m.Put(ctx, e, ttl)
		}
	}),
	"drops the path":    changing([]string{"PutFind", "CopiesEntries"}, func(e *cdn.Entry, _ *cdn.NodeEntry) { e.Path = nil }),
	"drops the latency": changing([]string{"PutFind"}, func(e *cdn.Entry, _ *cdn.NodeEntry) { e.Latency = 0 }),
	"rounds the latency": changing([]string{"PutFind", "NodesPutFind"}, func(e *cdn.Entry, n *cdn.NodeEntry) {
		e.Latency = e.Latency.Truncate(time.Millisecond)
		for i := range n.Origins {
			n.Origins[i].Latency = n.Origins[i].Latency.Truncate(time.Millisecond)
		}
	}),
	"drops a node's group":    changing([]string{"NodesPutFind"}, func(_ *cdn.Entry, n *cdn.NodeEntry) { n.Group = "" }),
	"drops a node's drain":    changing([]string{"NodesPutFind"}, func(_ *cdn.Entry, n *cdn.NodeEntry) { n.Draining = false }),
	"drops a node's roles":    changing([]string{"NodesPutFind"}, func(_ *cdn.Entry, n *cdn.NodeEntry) { n.Roles &= cdn.RoleRelay }),
	"drops a node's address":  changing([]string{"NodesPutFind"}, func(_ *cdn.Entry, n *cdn.NodeEntry) { n.Addrs = n.Addrs[:min(len(n.Addrs), 1)] }),
	"takes nodes without one": changing([]string{"NodesInvalid"}, func(_ *cdn.Entry, n *cdn.NodeEntry) { n.Node = cmp.Or(n.Node, "x") }),
	"shares memory":           with([]string{"CopiesEntries", "NodesCopies"}, sharing),
	"one put at a time":       with([]string{"ConcurrentNodes", "ConcurrentEpochs", "NodesConcurrent"}, busy),
	"deaf watch": with([]string{"WatchTellsChanges", "WatchTellsExpiry"}, func(f *faulty) {
		f.watch = func(m *cdn.Memory, ctx context.Context, id cdn.StreamID) iter.Seq2[[]cdn.Entry, error] {
			return func(yield func([]cdn.Entry, error) bool) {
				if entries, err := m.Find(ctx, id); yield(entries, err) {
					<-ctx.Done()
				}
			}
		}
	}),
	"watch that ends with an error": with([]string{"WatchEnds"}, func(f *faulty) {
		f.watch = func(m *cdn.Memory, ctx context.Context, id cdn.StreamID) iter.Seq2[[]cdn.Entry, error] {
			return func(yield func([]cdn.Entry, error) bool) {
				for entries, err := range m.Watch(ctx, id) {
					if !yield(entries, err) {
						return
					}
				}
				yield(nil, errors.New("connection closed"))
			}
		}
	}),
}

func with(notices []string, fault func(*faulty)) faultyDirectory {
	return faultyDirectory{func() cdn.Directory {
		f := &faulty{Memory: cdn.NewMemory()}
		fault(f)
		return f
	}, notices}
}

// removing is a directory that removes more than it is told to.
func removing(notices []string, too func(o, e cdn.Entry) bool) faultyDirectory {
	return with(notices, func(f *faulty) {
		f.remove = func(m *cdn.Memory, ctx context.Context, e cdn.Entry) error {
			entries, err := m.Find(ctx, e.Stream)
			for _, o := range entries {
				if too(o, e) {
					err = m.Remove(ctx, o)
				}
			}
			return err
		}
	})
}

// changing is a directory that changes what it is given.
func changing(notices []string, change func(*cdn.Entry, *cdn.NodeEntry)) faultyDirectory {
	return with(notices, func(f *faulty) {
		f.put = func(m *cdn.Memory, ctx context.Context, e cdn.Entry, ttl time.Duration) error {
			change(&e, &cdn.NodeEntry{})
			return m.Put(ctx, e, ttl)
		}
		f.putNode = func(m *cdn.Memory, ctx context.Context, n cdn.NodeEntry, ttl time.Duration) error {
			n.Origins = slices.Clone(n.Origins)
			change(&cdn.Entry{}, &n)
			return m.PutNode(ctx, n, ttl)
		}
	})
}

// sharing hands out what it was given.
func sharing(f *faulty) {
	var entries, nodes sync.Map
	f.put = func(m *cdn.Memory, ctx context.Context, e cdn.Entry, ttl time.Duration) error {
		entries.Store(e.Node, e)
		return m.Put(ctx, e, ttl)
	}
	f.find = func(m *cdn.Memory, ctx context.Context, id cdn.StreamID) ([]cdn.Entry, error) {
		all, err := m.Find(ctx, id)
		for i := range all {
			given, _ := entries.Load(all[i].Node)
			all[i] = given.(cdn.Entry)
		}
		return all, err
	}
	f.putNode = func(m *cdn.Memory, ctx context.Context, n cdn.NodeEntry, ttl time.Duration) error {
		nodes.Store(n.Node, n)
		return m.PutNode(ctx, n, ttl)
	}
	f.nodes = func(m *cdn.Memory, ctx context.Context) ([]cdn.NodeEntry, error) {
		all, err := m.Nodes(ctx)
		for i := range all {
			given, _ := nodes.Load(all[i].Node)
			all[i] = given.(cdn.NodeEntry)
		}
		return all, err
	}
}

// busy fails where it is put to twice at once.
func busy(f *faulty) {
	var one sync.Mutex
	alone := func(do func() error) error {
		if !one.TryLock() {
			return errors.New("busy")
		}
		defer one.Unlock()
		time.Sleep(time.Millisecond)
		return do()
	}
	f.put = func(m *cdn.Memory, ctx context.Context, e cdn.Entry, ttl time.Duration) error {
		return alone(func() error { return m.Put(ctx, e, ttl) })
	}
	f.putNode = func(m *cdn.Memory, ctx context.Context, n cdn.NodeEntry, ttl time.Duration) error {
		return alone(func() error { return m.PutNode(ctx, n, ttl) })
	}
}
