package delta_test

import (
	"context"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/origin"
	"github.com/deltacdn/delta/relay"
	"github.com/deltacdn/delta/signal/inproc"
)

// peerConnections has all tests run against the reference, viewers and other
// nodes served by pion's PeerConnections, and not against Delta's own sessions
// and links.
var peerConnections = os.Getenv("DELTA_TEST_PEERCONNECTIONS") != ""

// world is a CDN on a virtual network.
type world struct {
	t       *testing.T
	network *cdntest.Network
	dialer  *inproc.Network
	events  chan cdn.Event
}

func newWorld(t *testing.T) *world {
	return &world{
		t: t, network: cdntest.NewNetwork(t, cdntest.NetworkConfig{Seed: 1}),
		dialer: inproc.New(inproc.Config{}), events: make(chan cdn.Event, 10000),
	}
}

// node is one node of a world.
type node struct {
	*cdn.Node
	host   *cdntest.Host
	name   string
	origin *origin.Origin
	relay  *relay.Relay
	server *relay.Server
	edge   *edge.Edge
}

// node starts a node on a host behind path.
func (w *world) node(name string, path cdntest.Path, tune ...func(*cdn.Config)) *node {
	host := w.network.Host(name, path)
	c := cdn.Config{
		ID: cdn.NodeID(name), Addr: netip.AddrPortFrom(host.IP(), 7000).String(), Net: host.Net(),
		OnEvent: func(e cdn.Event) {
			select {
			case w.events <- e:
			default:
			}
		},
	}
	for _, f := range tune {
		f(&c)
	}
	n, err := cdn.Listen(c)
	require.NoError(w.t, err)
	made := &node{Node: n, host: host, name: name}
	w.t.Cleanup(func() {
		if made.Node != nil { // otherwise it has died
			require.NoError(w.t, made.Close())
		}
	})
	return made
}

// origin starts an origin that serves viewers and other nodes too.
func (w *world) origin(name string, path cdntest.Path, c origin.Config, tune ...func(*cdn.Config)) *node {
	n := w.node(name, path, tune...)
	var err error
	c.PeerConnections = peerConnections
	n.origin, err = origin.New(n.Node, c)
	require.NoError(w.t, err)
	w.dialer.Handle(n.url()+"/whip/", n.origin)
	w.serveNodes(n, n.origin)
	w.serveViewers(n, n.origin, edge.Config{})
	return n
}

// relay starts a node that fetches from others and serves nodes.
func (w *world) relay(name string, path cdntest.Path, entries ...*node) *node {
	n := w.node(name, path)
	w.fetch(n, entries...)
	w.serveNodes(n, n.relay)
	return n
}

// edge starts a node that fetches from others and serves viewers.
func (w *world) edge(name string, path cdntest.Path, c edge.Config, entries ...*node) *node {
	n := w.node(name, path)
	w.fetch(n, entries...)
	w.serveViewers(n, n.relay, c)
	return n
}

func (n *node) url() string { return "http://" + n.name }

func (w *world) fetch(n *node, entries ...*node) {
	urls := make([]string, len(entries))
	for i, e := range entries {
		urls[i] = e.url()
	}
	var err error
	n.relay, err = relay.New(n.Node, relay.Config{
		Directory: cdn.Static(urls...),
		Fetcher:   w.fetcher(n),
	})
	require.NoError(w.t, err)
}

func (w *world) fetcher(n *node) relay.Fetcher {
	if peerConnections {
		return relay.NewWHEP(n.Node, relay.WHEPConfig{Dialer: w.dialer})
	}
	f, err := relay.NewLink(n.Node, relay.LinkConfig{Dialer: w.dialer})
	require.NoError(w.t, err)
	return f
}

func (w *world) serveNodes(n *node, s cdn.Source) {
	var err error
	n.server, err = relay.NewServer(n.Node, s)
	require.NoError(w.t, err)
	w.dialer.Handle(n.url()+relay.Prefix, n.server)
}

func (w *world) serveViewers(n *node, s cdn.Source, c edge.Config) {
	c.Source, c.PeerConnections = s, c.PeerConnections || peerConnections
	var err error
	n.edge, err = edge.New(n.Node, c)
	require.NoError(w.t, err)
	w.dialer.Handle(n.url()+"/whep/", n.edge)
}

// publish sends a stream from a host of its own to an origin.
func (w *world) publish(n *node, stream cdn.StreamID, path cdntest.Path, c cdntest.PublisherConfig) *cdntest.Publisher {
	c.Net = w.network.Host("publisher of "+string(stream), path).Net()
	return w.publishFrom(n, stream, c)
}

// calm is a publisher for tests that look at no bitrate: two packets a frame, and six a
// keyframe. Each more costs processor time at every node that it passes.
func calm() cdntest.PublisherConfig {
	return cdntest.PublisherConfig{Video: &cdntest.Video{Bitrate: 400_000}, Audio: &cdntest.Audio{}}
}

func (w *world) publishFrom(n *node, stream cdn.StreamID, c cdntest.PublisherConfig) *cdntest.Publisher {
	c.Dialer, c.URL, c.Stream = w.dialer, n.url()+"/whip/"+string(stream), stream
	return cdntest.Publish(w.t, c)
}

// view plays a stream on a host called name.
func (w *world) view(n *node, stream cdn.StreamID, name string, path cdntest.Path, c cdntest.ViewerConfig) *cdntest.Viewer {
	c.Net = w.network.Host(name, path).Net()
	c.Dialer, c.URL, c.Stream = w.dialer, n.url()+"/whep/"+string(stream), stream
	return cdntest.View(w.t, c)
}

// within returns a context that ends after d.
func (w *world) within(d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	w.t.Cleanup(cancel)
	return ctx
}

func ms(n int) time.Duration { return time.Duration(n) * time.Millisecond }
