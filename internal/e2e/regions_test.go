package delta_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/origin"
)

// A counted directory counts the bytes of what nodes put into it.
type counted struct {
	*cdn.Memory
	puts  atomic.Int64
	mu    sync.Mutex
	bytes map[cdn.NodeID]int
}

func (c *counted) count(id cdn.NodeID, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	c.puts.Add(1)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bytes[id] += len(b)
}

func (c *counted) Put(ctx context.Context, e cdn.Entry, ttl time.Duration) error {
	c.count(e.Node, e)
	return c.Memory.Put(ctx, e, ttl)
}

func (c *counted) PutNode(ctx context.Context, n cdn.NodeEntry, ttl time.Duration) error {
	c.count(n.Node, n)
	return c.Memory.PutNode(ctx, n, ttl)
}

// region returns where a node of that name is.
func region(id cdn.NodeID) byte { return id[0] }

// Thirty nodes in three regions, each with four children at most: a stream crosses each
// border once, nobody waits for long, and the same seed makes the same tree.
func TestRegions(t *testing.T) {
	needLinks(t)
	seeds, each := 2, 10
	if raceEnabled {
		seeds, each = 1, 6
	}
	for seed := range uint64(seeds) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			if raceEnabled {
				synctest.Test(t, func(t *testing.T) { testRegions(t, each, seed) })
				return
			}
			var trees [2]map[cdn.NodeID]cdn.NodeID
			for i := range trees {
				synctest.Test(t, func(t *testing.T) { trees[i] = testRegions(t, each, seed) })
			}
			// Goroutines that wake at one instant of virtual time run in any order: a leaf may
			// hang on another node of the same depth.
			differ := 0
			for n, up := range trees[0] {
				if trees[1][n] != up {
					differ++
				}
			}
			require.LessOrEqual(t, differ, 3, "same seed, same tree:\n%s\n\n%s", draw(trees[0]), draw(trees[1]))
		})
	}
}

const (
	withinRegion  = 5 * time.Millisecond // one way
	acrossBorders = 80 * time.Millisecond
)

func testRegions(t *testing.T, each int, seed uint64) map[cdn.NodeID]cdn.NodeID {
	w := newWorld(t)
	dir := &counted{Memory: cdn.NewMemory(), bytes: map[cdn.NodeID]int{}}
	r := rand.New(rand.NewPCG(seed, 0))
	name := func(i int) string { return fmt.Sprintf("%c%02d", 'a'+i/each, i%each) }
	for i := range 3 * each {
		for k := range i {
			d := acrossBorders
			if name(k)[0] == name(i)[0] {
				d = withinRegion
			}
			d += time.Duration(r.Int64N(int64(time.Millisecond)))
			w.network.Between(w.network.Host(name(k), cdntest.Path{}), w.network.Host(name(i), cdntest.Path{}), cdntest.Path{Delay: d})
		}
	}
	var nodes []*node
	for i := range 3 * each {
		tune := func(c *cdn.Config) { c.Directory, c.URL, c.Limits.Sessions = dir, "http://"+name(i), 4 }
		var n *node
		if i == 0 {
			n = w.origin(name(i), cdntest.Path{}, origin.Config{}, tune)
		} else {
			n = w.node(name(i), cdntest.Path{}, tune)
			w.findBy(n, dir)
			w.serveNodes(n, n.relay)
		}
		nodes = append(nodes, n)
		time.Sleep(time.Duration(r.Int64N(int64(300 * time.Millisecond))))
	}
	o := nodes[0]
	time.Sleep(10 * time.Second)
	p := w.publish(o, "live", cdntest.Path{}, sparse())
	require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
	time.Sleep(time.Second) // it is announced
	before := dir.told()
	began := time.Now()
	subs := make([]*cdn.Subscription, len(nodes))
	for i, n := range nodes[1:] {
		sub, err := n.relay.Open(context.Background(), cdn.Request{Stream: "live"})
		require.NoError(t, err)
		defer sub.Close()
		subs[i+1] = sub
		time.Sleep(time.Duration(r.Int64N(int64(60 * time.Millisecond))))
	}
	for i, n := range nodes[1:] {
		for begun := time.Now(); !receives(n, "live"); time.Sleep(50 * time.Millisecond) {
			require.Less(t, time.Since(begun), 20*time.Second, "%s: %v", n.name, subs[i+1].Stream().Err())
		}
	}
	time.Sleep(time.Minute)
	tree := map[cdn.NodeID]cdn.NodeID{}
	crossed := map[byte]int{}
	var sum, least time.Duration
	depth := 0
	for _, n := range nodes[1:] {
		path := pathOf(n, "live")
		require.NotEmpty(t, path, n.name)
		require.Equal(t, o.ID(), path[0])
		require.NotContains(t, path, n.ID(), "a loop")
		up := path[len(path)-1]
		tree[n.ID()] = up
		if region(up) != region(n.ID()) {
			crossed[region(n.ID())]++
		}
		depth = max(depth, len(path))
		for _, s := range n.Node.Stats().Streams {
			d, ok := cdn.InputConfig{Path: s.Path, Delays: s.Delays}.Latency()
			require.True(t, ok)
			sum += d
		}
		if region(n.ID()) == region(o.ID()) {
			least += withinRegion
		} else {
			least += acrossBorders
		}
	}
	children := map[cdn.NodeID]int{}
	for _, up := range tree {
		children[up]++
		require.LessOrEqual(t, children[up], 5)
	}
	t.Logf("depth %d, mean latency %v, at least %v, crossings %v", depth, sum/time.Duration(len(nodes)-1), least/time.Duration(len(nodes)-1), crossed)
	require.Equal(t, map[byte]int{'b': 1, 'c': 1}, crossed, "each border is crossed once: %v", draw(tree))
	require.LessOrEqual(t, float64(sum), 1.5*float64(least))
	seconds := time.Since(began).Seconds()
	for _, n := range nodes {
		sent := float64(dir.told()[n.ID()]-before[n.ID()]) * 8 / seconds / 2 // of itself and of one stream
		require.LessOrEqual(t, sent, 1000.0, "bits a second that %s tells the directory", n.name)
	}
	return tree
}

// receives reports whether a stream comes to a node.
func receives(n *node, id cdn.StreamID) bool {
	for _, s := range n.Node.Stats().Streams {
		if s.Stream == id && s.Live && len(s.Tracks) > 0 {
			return s.Tracks[0].Layers[0].Bitrate > 0
		}
	}
	return false
}

func draw(tree map[cdn.NodeID]cdn.NodeID) string {
	var lines []string
	for n, up := range tree {
		lines = append(lines, string(up)+" > "+string(n))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// told returns how many bytes each node has told.
func (c *counted) told() map[cdn.NodeID]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.bytes)
}
