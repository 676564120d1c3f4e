package delta_test

import (
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/origin"
)

// A bareNetwork's sockets have the methods of a [net.PacketConn] and no others.
type bareNetwork struct{ cdn.Network }

func (n bareNetwork) ListenUDP(addr netip.AddrPort) (net.PacketConn, error) {
	c, err := n.Network.ListenUDP(addr)
	return struct{ net.PacketConn }{c}, err
}

// Nodes and clients need no more of a network than [cdn.Network] says, whichever
// way they reach one another: by links, by PeerConnections that are dialed, or as
// viewers and publishers.
func TestNodesOnABareNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		path := cdntest.Path{Delay: ms(5)}
		bare := func(c *cdn.Config) { c.Net = bareNetwork{c.Net} }
		o := w.origin("origin", path, origin.Config{}, bare)
		e := w.node("edge", path, bare)
		w.fetch(e, o)
		w.serveViewers(e, e.relay, edge.Config{})
		p := w.publishFrom(o, "live", cdntest.PublisherConfig{Net: bareNetwork{w.network.Host("publisher", path).Net()}})
		require.NoError(t, p.WaitConnected(w.within(5*time.Second)))
		v := cdntest.View(t, cdntest.ViewerConfig{
			Net: bareNetwork{w.network.Host("viewer", path).Net()}, Dialer: w.dialer, URL: e.url() + "/whep/live", Stream: "live",
		})
		require.NoError(t, v.WaitConnected(w.within(5*time.Second)))
		time.Sleep(3 * time.Second)
		require.Greater(t, len(v.Report().Video().Frames), 60)
	})
}
