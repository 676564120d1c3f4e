package natsdir_test

import (
	"context"
	"fmt"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/natsdir"
	"github.com/deltacdn/delta/cdn/natsdir/embedded"
)

// Two nodes find each other without any infrastructure: each runs a NATS server, and
// the second is told the address of the first.
func Example() {
	first, _ := embedded.Start(embedded.Config{Name: "o-eu1", Listen: "127.0.0.1:0"})
	defer first.Close()
	second, _ := embedded.Start(embedded.Config{Name: "e-eu1", Listen: "127.0.0.1:0", Seeds: []string{first.Addr().String()}})
	defer second.Close()

	// A node announces itself, and the streams that it has.
	conn, _ := first.Connect() // or nats.Connect("nats://nats.example.com", natsdir.Options()...)
	defer conn.Close()
	dir, _ := natsdir.New(conn, natsdir.Config{Reaches: first.Reaches})
	defer dir.Close()
	node, _ := cdn.Listen(cdn.Config{ID: "o-eu1", URL: "https://o-eu1.example.com", Addr: "127.0.0.1:0", Directory: dir})
	defer node.Close()
	node.Serve(cdn.RoleOrigin) // as origin.New does

	other, _ := second.Connect() // of an edge or a relay, which finds the first node
	defer other.Close()
	found, _ := natsdir.New(other, natsdir.Config{Reaches: second.Reaches})
	defer found.Close()
	fmt.Println(await(found))
	// Output: o-eu1 at https://o-eu1.example.com
}

// await returns the node that a directory has, once it has heard of one.
func await(dir cdn.NodeDirectory) string {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for ; ctx.Err() == nil; time.Sleep(10 * time.Millisecond) {
		if nodes, err := dir.Nodes(ctx); err == nil && len(nodes) == 1 {
			return fmt.Sprint(nodes[0].Node, " at ", nodes[0].URL)
		}
	}
	return "nobody"
}
