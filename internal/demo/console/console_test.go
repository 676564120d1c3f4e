package console_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/demo/console"
)

// What a node has sent to other nodes is sent, and stays so when the link is over.
func TestTotalsCoverLinksAndThePast(t *testing.T) {
	node, err := cdn.Listen(cdn.Config{ID: "origin", Addr: "127.0.0.1:0"})
	require.NoError(t, err)
	defer func() { require.NoError(t, node.Close()) }()
	flow := cdn.Flow{Packets: 10, Bytes: 10_000}
	ends := []func(){
		node.Measure(func(t *cdn.Totals) { t.Links.Sent.Add(flow) }),
		node.Measure(func(t *cdn.Totals) { t.Viewers.Sent.Add(flow) }),
		node.Measure(func(t *cdn.Totals) { t.Nodes.Sent.Add(flow); t.Nodes.Received.Add(flow) }),
		node.Measure(func(t *cdn.Totals) { t.Publishers.Received.Add(flow) }),
	}
	check := func() {
		t.Helper()
		total := console.Node{CDN: node}.Status().Totals
		require.Equal(t, [4]uint64{30, 30_000, 20, 20_000}, [4]uint64{total.PacketsOut, total.BytesOut, total.PacketsIn, total.BytesIn})
	}
	check()
	for _, end := range ends {
		end()
		end() // once is enough
		check()
	}
}
