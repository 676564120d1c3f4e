package cdntest_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/origin"
	"github.com/deltacdn/delta/signal/inproc"
)

// A test of a whole network, in virtual time: the picture arrives exactly the
// paths' delay after it was sent.
func ExampleNewNetwork() {
	test := func(t *testing.T) {
		network := cdntest.NewNetwork(t, cdntest.NetworkConfig{Seed: 1})
		far := cdntest.Path{Delay: 10 * time.Millisecond}
		host := network.Host("node", far)
		node, err := cdn.Listen(cdn.Config{Addr: host.IP().String() + ":7000", Net: host.Net()})
		if err != nil {
			t.Fatal(err)
		}
		defer node.Close()
		live, _ := origin.New(node, origin.Config{})
		view, _ := edge.New(node, edge.Config{Source: live})
		signaling := inproc.New(inproc.Config{})
		signaling.Handle("http://node/whip/", live)
		signaling.Handle("http://node/whep/", view)

		p := cdntest.Publish(t, cdntest.PublisherConfig{
			Net: network.Host("publisher", far).Net(), Dialer: signaling, URL: "http://node/whip/demo",
		})
		if err := p.WaitConnected(t.Context()); err != nil {
			t.Fatal(err)
		}
		v := cdntest.View(t, cdntest.ViewerConfig{
			Net: network.Host("viewer", far).Net(), Dialer: signaling, URL: "http://node/whep/demo",
		})
		if err := v.WaitFrames(t.Context(), 60); err != nil {
			t.Fatal(err)
		}
		fmt.Println(v.Report().Video().Latency(0.5))
	}
	run("TestMyNetwork", func(t *testing.T) { synctest.Test(t, test) })
	// Output: 40ms
}

// run stands for `go test`.
func run(name string, test func(t *testing.T)) {
	testing.Init()
	testing.RunTests(func(_, _ string) (bool, error) { return true, nil }, []testing.InternalTest{{Name: name, F: test}})
}
