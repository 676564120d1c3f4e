package natsdir_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/cdn/natsdir"
	"github.com/deltacdn/delta/cdn/natsdir/embedded"
	"github.com/deltacdn/delta/internal/runqueue"
	"github.com/deltacdn/delta/origin"
	"github.com/deltacdn/delta/relay"
	"github.com/deltacdn/delta/signal/inproc"
)

// A found node has a NATS server of its own, and was told the address of one other.
type found struct {
	name   string
	sock   severable
	server *embedded.Server
	conn   *nats.Conn
	dir    *natsdir.Directory
	node   *cdn.Node
	live   *origin.Origin
	up     *relay.Relay
	served *relay.Server
}

// A severable network's sockets can be taken away from their node.
type severable struct {
	mu    sync.Mutex
	conns []*net.UDPConn
}

func (s *severable) ListenUDP(at netip.AddrPort) (net.PacketConn, error) {
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns = append(s.conns, conn)
	return conn, nil
}

func (s *severable) Addrs() ([]netip.Addr, error) {
	return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
}

func (s *severable) sever() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		_ = c.Close()
	}
}

type foundNetwork struct {
	*testing.T
	dialer *inproc.Network
	seed   string // an address of the last node that started
}

func (w *foundNetwork) start(name string, roles cdn.Roles) *found {
	n := &found{name: name}
	c := embedded.Config{Name: name, Listen: "127.0.0.1:0"}
	if w.seed != "" {
		c.Seeds = []string{w.seed}
	}
	var err error
	n.server, err = embedded.Start(c)
	require.NoError(w, err)
	w.seed = n.server.Addr().String()
	n.conn, err = n.server.Connect()
	require.NoError(w, err)
	n.dir, err = natsdir.New(n.conn, natsdir.Config{Reaches: n.server.Reaches})
	require.NoError(w, err)
	n.node, err = cdn.Listen(cdn.Config{
		ID: cdn.NodeID(name), URL: "http://" + name, Addr: "127.0.0.1:0", Directory: n.dir, Net: &n.sock,
	})
	require.NoError(w, err)
	w.Cleanup(n.close)
	if roles.Has(cdn.RoleOrigin) {
		n.live, err = origin.New(n.node, origin.Config{})
		require.NoError(w, err)
		w.dialer.Handle("http://"+name+"/whip/", n.live)
		w.serve(n, n.live)
		return n
	}
	fetcher, err := relay.NewLink(n.node, relay.LinkConfig{Dialer: w.dialer})
	require.NoError(w, err)
	n.up, err = relay.New(n.node, relay.Config{Directory: n.dir, Fetcher: fetcher})
	require.NoError(w, err)
	if roles.Has(cdn.RoleRelay) {
		w.serve(n, n.up)
	}
	return n
}

func (w *foundNetwork) serve(n *found, s cdn.Source) {
	var err error
	n.served, err = relay.NewServer(n.node, s)
	require.NoError(w, err)
	w.dialer.Handle("http://"+n.name+relay.Prefix, n.served)
}

func (n *found) close() {
	if n.node == nil {
		return
	}
	_ = n.node.Close()
	_ = n.dir.Close()
	n.conn.Close()
	_ = n.server.Close()
	n.node = nil
}

// kill has a node vanish without a word.
func (w *foundNetwork) kill(n *found) {
	n.sock.sever()
	n.conn.Close()
	_ = n.server.Close()
	w.dialer.Handle("http://"+n.name+relay.Prefix, nil)
}

// An origin, three relays and nine edges, each told one address of any node, find each
// other: every stream plays at every edge, through one relay, and the origin sends each
// three times at most. When a relay is killed, the others take over.
func TestNetworkOnEmbeddedServers(t *testing.T) {
	w := &foundNetwork{T: t, dialer: inproc.New(inproc.Config{})}
	o := w.start("origin", cdn.RoleOrigin)
	var relays, edges []*found
	for i := range 3 {
		relays = append(relays, w.start(fmt.Sprintf("relay%d", i), cdn.RoleRelay))
	}
	for i := range 9 {
		edges = append(edges, w.start(fmt.Sprintf("edge%d", i), cdn.RoleEdge))
	}
	require.Eventually(t, func() bool {
		for _, e := range edges {
			nodes, err := e.dir.Nodes(t.Context())
			measured := slices.DeleteFunc(nodes, func(n cdn.NodeEntry) bool { return len(n.Origins) == 0 })
			if err != nil || len(measured) < len(relays) {
				return false
			}
		}
		return true
	}, 20*time.Second, 50*time.Millisecond, "they know each other, and the relays how far the origin is")
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	name := func(i int) cdn.StreamID { return cdn.StreamID(fmt.Sprintf("s%d", i)) }
	for i := range networkStreams {
		p, err := cdntest.NewPublisher(ctx, cdntest.PublisherConfig{
			Dialer: w.dialer, URL: "http://origin/whip/" + string(name(i)), Stream: name(i),
			Video: &cdntest.Video{FPS: 10, Bitrate: 20_000},
		})
		require.NoError(t, err)
		t.Cleanup(p.Kill)
	}
	subs := make(map[*found][]*cdn.Subscription)
	for _, e := range edges {
		for i := range networkStreams {
			var sub *cdn.Subscription
			require.Eventually(t, func() bool {
				var err error
				sub, err = e.up.Open(ctx, cdn.Request{Stream: name(i)})
				return err == nil && sub.Stream().Ready(ctx) == nil
			}, 20*time.Second, 100*time.Millisecond)
			t.Cleanup(sub.Close)
			subs[e] = append(subs[e], sub)
		}
	}
	came := func(s *cdn.Subscription) (at time.Time) {
		for _, track := range s.Stream().Tracks() {
			for _, l := range track.Layers() {
				if p := l.Newest(); p != nil {
					at = p.Arrival
				}
			}
		}
		return at
	}
	// by returns the relay that a stream comes by. An edge goes to the origin itself where
	// a relay seems to be more than 20 ms farther: on a machine with other work some do.
	by := func(s *cdn.Subscription) (cdn.NodeID, bool) {
		in, _ := s.Stream().Input()
		require.NotEmpty(t, in.Path)
		require.LessOrEqual(t, len(in.Path), 2, "the origin and a relay: %v", in.Path)
		return in.Path[len(in.Path)-1], len(in.Path) == 2
	}
	used, direct := map[cdn.NodeID]int{}, 0
	for _, e := range edges {
		for i, s := range subs[e] {
			require.Eventually(t, func() bool { return time.Since(came(s)) < time.Second }, 20*time.Second, 50*time.Millisecond, "%s at %s", name(i), e.name)
			if relay, ok := by(s); ok {
				used[relay]++
			} else {
				direct++
			}
		}
	}
	t.Logf("streams by relay: %v; by none: %d", used, direct)
	require.NotEmpty(t, used)
	copies := 0
	for id, n := range o.served.Serving() {
		require.LessOrEqual(t, n, len(relays)+direct, id)
		copies = max(copies, n)
	}
	t.Logf("copies that leave the origin: %d at most", copies)

	victim := slices.MaxFunc(relays, func(x, y *found) int { return used[x.node.ID()] - used[y.node.ID()] })
	var watched, others []*cdn.Subscription
	for _, e := range edges {
		for _, s := range subs[e] {
			if relay, _ := by(s); relay == victim.node.ID() {
				watched = append(watched, s)
			} else {
				others = append(others, s)
			}
		}
	}
	all := slices.Concat(watched, others)
	last, gaps := make([]time.Time, len(all)), make([]time.Duration, len(all))
	for i, s := range all {
		last[i] = came(s)
	}
	w.kill(victim)
	killed, kept := time.Now(), runqueue.Waited()
	back := func() bool {
		return !slices.ContainsFunc(last[:len(watched)], func(at time.Time) bool { return time.Since(at) > networkGap })
	}
	for time.Since(killed) < 6*time.Second || !back() && time.Since(killed) < time.Minute {
		time.Sleep(10 * time.Millisecond)
		for i, s := range all {
			if at := came(s); at.After(last[i]) {
				gaps[i], last[i] = max(gaps[i], at.Sub(last[i])), at
			}
		}
	}
	kept = runqueue.Waited() - kept
	for i, at := range last {
		gaps[i] = max(gaps[i], time.Since(at))
	}
	// What comes by the other relays shows what the machine took.
	var machine time.Duration
	if len(others) > 0 {
		machine = slices.Max(gaps[len(watched):])
	}
	gaps = gaps[:len(watched)]
	slices.Sort(gaps)
	t.Logf("a relay was killed: %d streams came by it; gaps of 100 ms streams: median %v, p99 %v, longest %v",
		len(gaps), gaps[len(gaps)/2], gaps[len(gaps)*99/100], gaps[len(gaps)-1])
	t.Logf("the longest gap of the %d others: %v; threads waited for a CPU for %v", len(others), machine, kept)
	require.Less(t, machine-kept, 2*networkGap, "streams of other relays must not stall")
	require.Less(t, gaps[len(gaps)*99/100]-machine-kept, networkGap)
	require.True(t, back(), "streams that do not come any more")
}
