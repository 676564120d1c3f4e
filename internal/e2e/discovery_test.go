package delta_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/origin"
	"github.com/deltacdn/delta/relay"
)

// A found world is one whose nodes find each other by a directory.
type foundWorld struct {
	*world
	dir    *cdn.Memory
	killed map[string]*atomic.Bool
}

func newFoundWorld(t *testing.T) *foundWorld {
	return &foundWorld{newWorld(t), cdn.NewMemory(), map[string]*atomic.Bool{}}
}

// announced sets up a node that announces itself.
func (w *foundWorld) announced(name string) func(*cdn.Config) {
	return func(c *cdn.Config) { c.Directory, c.URL = &mortal{w.dir, w.dead(name)}, "http://"+name }
}

// dead says whether a node has been killed.
func (w *foundWorld) dead(name string) *atomic.Bool {
	if w.killed[name] == nil {
		w.killed[name] = &atomic.Bool{}
	}
	return w.killed[name]
}

// kill makes a node vanish, as SIGKILL does: it does not renew what it has announced.
func (w *foundWorld) kill(n *node) {
	w.dead(n.name).Store(true)
	w.world.kill(n)
}

// A mortal node's view of the directory ends with the node.
type mortal struct {
	*cdn.Memory
	dead *atomic.Bool
}

func (m *mortal) err() error {
	if m.dead.Load() {
		return errors.New("this node is dead")
	}
	return nil
}

func (m *mortal) Put(ctx context.Context, e cdn.Entry, ttl time.Duration) error {
	if err := m.err(); err != nil {
		return err
	}
	return m.Memory.Put(ctx, e, ttl)
}

func (m *mortal) Remove(ctx context.Context, e cdn.Entry) error {
	if err := m.err(); err != nil {
		return err
	}
	return m.Memory.Remove(ctx, e)
}

func (m *mortal) PutNode(ctx context.Context, n cdn.NodeEntry, ttl time.Duration) error {
	if err := m.err(); err != nil {
		return err
	}
	return m.Memory.PutNode(ctx, n, ttl)
}

func (m *mortal) RemoveNode(ctx context.Context, id cdn.NodeID) error {
	if err := m.err(); err != nil {
		return err
	}
	return m.Memory.RemoveNode(ctx, id)
}

func (w *foundWorld) originAt(name string, path cdntest.Path, tune ...func(*cdn.Config)) *node {
	return w.origin(name, path, origin.Config{}, append(tune, w.announced(name))...)
}

func (w *foundWorld) relayAt(name string, path cdntest.Path, tune ...func(*cdn.Config)) *node {
	n := w.node(name, path, append(tune, w.announced(name))...)
	w.find(n)
	w.serveNodes(n, n.relay)
	return n
}

func (w *foundWorld) edgeAt(name string, path cdntest.Path, tune ...func(*cdn.Config)) *node {
	n := w.node(name, path, append(tune, w.announced(name))...)
	w.find(n)
	w.serveViewers(n, n.relay, edge.Config{})
	return n
}

// find has a node fetch by the directory.
func (w *foundWorld) find(n *node) { w.findBy(n, w.dir) }

func (w *world) findBy(n *node, dir cdn.Directory) {
	var err error
	n.relay, err = relay.New(n.Node, relay.Config{Directory: dir, Fetcher: w.fetcher(n)})
	require.NoError(w.t, err)
}

// upstreams returns by which node each stream comes to a node.
func upstreams(n *node) map[cdn.StreamID]cdn.NodeID {
	all := map[cdn.StreamID]cdn.NodeID{}
	for _, f := range n.relay.Stats() {
		all[f.Stream] = f.Node
	}
	return all
}

// pathOf returns the nodes that a stream comes through to a node.
func pathOf(n *node, id cdn.StreamID) []cdn.NodeID {
	for _, s := range n.Node.Stats().Streams {
		if s.Stream == id {
			return s.Path
		}
	}
	return nil
}

// sparse is a stream of few packets.
func sparse() cdntest.PublisherConfig {
	return cdntest.PublisherConfig{Video: &cdntest.Video{FPS: 10, Bitrate: 20_000}}
}

// Edges find relays, relays the origin, and neighbours share one copy, with nothing
// configured but a directory.
func TestRelaysAreFound(t *testing.T) {
	needLinks(t)
	streams := 12
	if raceEnabled {
		streams = 6
	}
	synctest.Test(t, func(t *testing.T) { testRelaysAreFound(t, streams) })
}

func testRelaysAreFound(t *testing.T, streams int) {
	w := newFoundWorld(t)
	o := w.originAt("origin", cdntest.Path{Delay: ms(1)})
	var relays, edges []*node
	for i := range 3 {
		relays = append(relays, w.relayAt(fmt.Sprintf("relay%d", i), cdntest.Path{Delay: ms(1)}))
	}
	for i := range 9 {
		edges = append(edges, w.edgeAt(fmt.Sprintf("edge%d", i), cdntest.Path{Delay: time.Duration(500+100*i) * time.Microsecond}))
	}
	time.Sleep(10 * time.Second) // they have measured each other
	for i := range streams {
		id := cdn.StreamID(fmt.Sprintf("s%d", i))
		p := w.publish(o, id, cdntest.Path{}, sparse())
		require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
	}
	var viewers []*cdntest.Viewer
	at := map[*cdntest.Viewer]*node{}
	for i := range streams {
		for k, e := range edges {
			viewers = append(viewers, w.view(e, cdn.StreamID(fmt.Sprintf("s%d", i)), fmt.Sprintf("viewer %d", k), cdntest.Path{}, cdntest.ViewerConfig{Kinds: []cdn.Kind{cdn.Video}}))
			at[viewers[len(viewers)-1]] = e
		}
	}
	for _, v := range viewers {
		require.NoError(t, v.WaitFrames(w.within(20*time.Second), 20))
	}
	used := map[cdn.NodeID]int{}
	for id, n := range o.server.Serving() {
		require.LessOrEqual(t, n, 3, "copies of %s that leave the origin", id)
	}
	for i := range streams {
		id := cdn.StreamID(fmt.Sprintf("s%d", i))
		for _, e := range edges {
			path := pathOf(e, id)
			require.Len(t, path, 2, "origin and one relay")
			used[path[1]]++
		}
	}
	require.Len(t, used, 3, "each relay has its share: %v", used)
	nodes, err := w.dir.Nodes(context.Background())
	require.NoError(t, err)
	require.Len(t, nodes, 13)
	for _, n := range nodes {
		require.NotEmpty(t, n.Addrs)
		if n.Roles.Has(cdn.RoleRelay) {
			require.Equal(t, []cdn.OriginLatency{{Origin: "origin", Latency: ms(2)}}, n.Origins)
		}
	}
	entries, err := w.dir.Find(context.Background(), "s0")
	require.NoError(t, err)
	require.Equal(t, cdn.NodeID("origin"), entries[0].Node)
	require.Greater(t, len(entries), 1, "relays announce what they have")
	require.Equal(t, []cdn.NodeID{"origin"}, entries[1].Path)
	require.Equal(t, ms(2), entries[1].Latency)
	for _, v := range viewers {
		require.Zero(t, v.Report().Video().FaultCount, v.Report().Video().Faults)
	}
	for i, e := range edges { // each node knows how late it is, hop by hop
		toRelay := ms(1) + time.Duration(500+100*i)*time.Microsecond
		for _, s := range e.Node.Stats().Streams {
			require.Equal(t, []time.Duration{ms(2), toRelay}, s.Delays)
		}
	}

	// One relay dies: what came by it comes by the others.
	victim := relays[0]
	var lost []*cdntest.Viewer
	for i, v := range viewers {
		if upstreams(at[v])[cdn.StreamID(fmt.Sprintf("s%d", i/len(edges)))] == victim.ID() {
			lost = append(lost, v)
		}
	}
	require.NotEmpty(t, lost)
	w.kill(victim)
	killed := time.Now()
	time.Sleep(5 * time.Second)
	var gaps []time.Duration
	for _, v := range lost {
		gaps = append(gaps, gap(v.Report().Video(), killed))
	}
	slices.Sort(gaps)
	t.Logf("a relay was killed: %d viewers had streams by it, gaps: median %v, p99 %v", len(gaps), gaps[len(gaps)/2], gaps[len(gaps)*99/100])
	require.LessOrEqual(t, gaps[len(gaps)*99/100], ms(800))
	for _, e := range edges {
		for _, s := range e.Node.Stats().Streams {
			require.Len(t, s.Path, 2)
			require.NotContains(t, s.Path, victim.ID())
		}
	}
}

// A relay leaves: what edges have through it comes from elsewhere without a frame
// missing, and when it comes back, the same again.
func TestARelayDrains(t *testing.T) {
	needLinks(t)
	for name, tc := range someIn(map[string]struct {
		delays [3]time.Duration // of the origin and the relays
		to     cdn.NodeID
	}{
		"alike":            {[3]time.Duration{ms(1), ms(1), ms(1)}, "relay2"},
		"to a longer path": {[3]time.Duration{ms(1), ms(1), ms(30)}, "origin"}, // which is nearer
		"to a shorter one": {[3]time.Duration{ms(40), ms(15), ms(1)}, "relay2"},
	}) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { testDrain(t, tc.delays, 4, tc.to) })
		})
	}
}

// testDrain drains the relay of three edges with so many viewers each, and has it come
// back and drain once more. Nobody misses a frame, or negotiates.
func testDrain(t *testing.T, delays [3]time.Duration, each int, to cdn.NodeID) {
	w := newFoundWorld(t)
	o := w.originAt("origin", cdntest.Path{Delay: delays[0]})
	r1 := w.relayAt("relay1", cdntest.Path{Delay: delays[1]})
	var edges []*node
	for i := range 3 {
		edges = append(edges, w.edgeAt(fmt.Sprintf("edge%d", i), cdntest.Path{Delay: ms(1)}))
	}
	time.Sleep(6 * time.Second)
	p := w.publish(o, "live", cdntest.Path{}, calm())
	require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
	var viewers []*cdntest.Viewer
	for i, e := range edges {
		for k := range each {
			viewers = append(viewers, w.view(e, "live", fmt.Sprintf("viewer %d.%d", i, k), cdntest.Path{}, cdntest.ViewerConfig{}))
		}
	}
	for _, v := range viewers {
		require.NoError(t, v.WaitFrames(w.within(10*time.Second), 60))
	}
	all := func(want cdn.NodeID) {
		t.Helper()
		for _, e := range edges {
			require.Equal(t, want, upstreams(e)["live"])
		}
	}
	all("relay1")
	r2 := w.relayAt("relay2", cdntest.Path{Delay: delays[2]})
	time.Sleep(6 * time.Second)

	require.NoError(t, r1.Drain(w.within(10*time.Second)), "nobody is left")
	all(to)
	entries, err := w.dir.Find(context.Background(), "live")
	require.NoError(t, err)
	for _, e := range entries {
		require.NotEqual(t, cdn.NodeID("relay1"), e.Node, "it is announced no more")
	}
	time.Sleep(2 * time.Second)
	r1.Undrain()
	time.Sleep(6 * time.Second)
	if to == "relay2" {
		require.NoError(t, r2.Drain(w.within(10*time.Second)))
		require.NotContains(t, pathOf(edges[0], "live"), to)
		r2.Undrain()
	}
	time.Sleep(3 * time.Second)
	p.Stop(w.within(time.Second))
	for _, v := range viewers {
		<-v.Done()
		for _, track := range v.Report().Tracks {
			require.Zero(t, track.FaultCount, "%s: %v", track.Kind, track.Faults)
			require.Zero(t, track.Missing+track.Duplicates, "%s", track.Kind)
		}
	}
}
