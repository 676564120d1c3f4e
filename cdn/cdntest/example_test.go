package cdntest_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/origin"
	"github.com/deltacdn/delta/signal/inproc"
)

// A test of a whole network, in virtual time: the picture arrives exactly the
// paths' delay after it was sent. It is a test and no Example, since a network
// belongs to a *testing.T.
func TestExampleNewNetwork(t *testing.T) { synctest.Test(t, testExampleNewNetwork) }

func testExampleNewNetwork(t *testing.T) {
	// A virtual network with a node on it, 10 ms from everybody.
	network := cdntest.NewNetwork(t, cdntest.NetworkConfig{Seed: 1})
	far := cdntest.Path{Delay: 10 * time.Millisecond}
	host := network.Host("node", far)
	node, err := cdn.Listen(cdn.Config{Addr: host.IP().String() + ":7000", Net: host.Net()})
	require.NoError(t, err)
	defer node.Close()
	live, err := origin.New(node, origin.Config{})
	require.NoError(t, err)
	view, err := edge.New(node, edge.Config{Source: live})
	require.NoError(t, err)

	// Signaling is a function call.
	signaling := inproc.New(inproc.Config{})
	signaling.Handle("http://node/whip/", live)
	signaling.Handle("http://node/whep/", view)

	// One publishes, one views, each from a host of its own.
	p := cdntest.Publish(t, cdntest.PublisherConfig{
		Net: network.Host("publisher", far).Net(), Dialer: signaling, URL: "http://node/whip/demo",
	})
	require.NoError(t, p.WaitConnected(t.Context()))
	v := cdntest.View(t, cdntest.ViewerConfig{
		Net: network.Host("viewer", far).Net(), Dialer: signaling, URL: "http://node/whep/demo",
	})
	require.NoError(t, v.WaitFrames(t.Context(), 60))

	// Four times 10 ms: publisher, node, node, viewer. Nothing was changed.
	require.Equal(t, 40*time.Millisecond, v.Report().Video().Latency(0.5))
	require.Zero(t, v.Report().Video().FaultCount)
}
