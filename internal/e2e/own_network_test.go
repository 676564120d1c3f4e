package delta_test

import (
	"net"
	"net/netip"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/origin"
	"github.com/deltacdn/delta/signal/inproc"
)

// A lossyNet is the system's network with sockets that, while they are told to, drop
// one in so many of the datagrams that come and see all that leave.
type lossyNet struct {
	cdn.Network
	declares  bool // what the sockets are
	intercept atomic.Bool
	under     atomic.Pointer[net.PacketConn]

	reads, writes, drops atomic.Int64
}

const dropEvery = 20

func (n *lossyNet) ListenUDP(addr netip.AddrPort) (net.PacketConn, error) {
	c, err := n.Network.ListenUDP(addr)
	if err != nil {
		return nil, err
	}
	n.under.Store(&c)
	if n.declares {
		return interceptingConn{lossyConn{c, n}}, nil
	}
	return lossyConn{c, n}, nil
}

func (n *lossyNet) set(intercept bool) error {
	n.intercept.Store(intercept)
	return (*n.under.Load()).SetReadDeadline(time.Now())
}

type lossyConn struct {
	net.PacketConn
	net *lossyNet
}

func (c lossyConn) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, from, err := c.PacketConn.ReadFrom(b)
		if err == nil && c.net.reads.Add(1)%dropEvery == 0 {
			c.net.drops.Add(1)
			continue
		}
		return n, from, err
	}
}

func (c lossyConn) WriteTo(b []byte, to net.Addr) (int, error) {
	c.net.writes.Add(1)
	return c.PacketConn.WriteTo(b, to)
}

type interceptingConn struct{ lossyConn }

func (c interceptingConn) Underlying() net.PacketConn { return c.PacketConn }
func (c interceptingConn) Intercepts() bool           { return c.net.intercept.Load() }

// onRealSockets starts an origin that serves viewers at one of the system's ports, a
// publisher and a viewer, and returns the node and a function that waits for so many
// more packets of sound. (Video is paused for a viewer whose path seems narrow, as every path
// does on a machine that has too much to do.)
func onRealSockets(t *testing.T, network cdn.Network) (node *cdn.Node, playsOn func(packets int)) {
	t.Helper()
	node, err := cdn.Listen(cdn.Config{Addr: "127.0.0.1:0", Net: network})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, node.Close()) })
	live, err := origin.New(node, origin.Config{})
	require.NoError(t, err)
	view, err := edge.New(node, edge.Config{Source: live})
	require.NoError(t, err)
	dialer := inproc.New(inproc.Config{})
	dialer.Handle("http://node/whip/", live)
	dialer.Handle("http://node/whep/", view)
	cdntest.Publish(t, cdntest.PublisherConfig{Dialer: dialer, URL: "http://node/whip/s", Stream: "s", Audio: &cdntest.Audio{}})
	v := cdntest.View(t, cdntest.ViewerConfig{Dialer: dialer, URL: "http://node/whep/s", Stream: "s", Kinds: []cdn.Kind{cdn.Audio}})
	return node, func(packets int) {
		t.Helper()
		before := v.Report().Audio().Packets
		on := func() bool { return v.Report().Audio().Packets >= before+packets }
		if !assert.Eventually(t, on, 20*time.Second, 5*time.Millisecond) {
			t.Fatalf("%d packets of sound since; %+v; %+v", v.Report().Audio().Packets-before, view.Stats(), node.Sessions())
		}
	}
}

// A socket that drops datagrams, and says nothing else of itself, sees all of them.
func TestASocketOfOnesOwnSeesAllDatagrams(t *testing.T) {
	t.Parallel()
	network := &lossyNet{Network: cdn.SystemNetwork()}
	node, playsOn := onRealSockets(t, network)
	playsOn(50)
	require.Positive(t, network.drops.Load())
	sent := node.Stats().Egress.Datagrams // read first: the node goes on to send, and counts what it has written
	require.GreaterOrEqual(t, network.writes.Load(), int64(sent))
}

// A socket that says when it wants to see the datagrams is gone around otherwise, and
// may change its mind while a stream plays: nothing is lost but what it drops.
func TestASocketOfOnesOwnIsGoneAround(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("only Linux has calls for many datagrams")
	}
	network := &lossyNet{Network: cdn.SystemNetwork(), declares: true}
	node, playsOn := onRealSockets(t, network)
	playsOn(50)
	require.NotEqual(t, "single", node.Stats().Egress.Mode)
	for range 3 {
		require.Zero(t, network.reads.Swap(0)+network.writes.Swap(0))
		require.NoError(t, network.set(true))
		playsOn(50) // those that the node had read when the socket changed its mind, and more
		playsOn(50)
		for more := 0; more < 100 && network.reads.Load() < 50; more++ { // on a busy machine it had read more
			playsOn(10)
		}
		require.GreaterOrEqual(t, network.reads.Load(), int64(50))
		require.Positive(t, network.writes.Load())
		require.NoError(t, network.set(false))
		playsOn(50) // what was asked before the change is over
		network.reads.Store(0)
		network.writes.Store(0)
		playsOn(50)
	}
}
