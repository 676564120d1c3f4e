package natsdir_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/natsdir"
	"github.com/deltacdn/delta/cdn/natsdir/embedded"
)

// Two nodes find each other without any infrastructure: each runs a NATS server, and
// the second is told the address of the first.
func Example() {
	first, err := embedded.Start(embedded.Config{Name: "o-eu1", Listen: "127.0.0.1:0"})
	if err != nil {
		log.Fatal(err)
	}
	defer first.Close()
	second, err := embedded.Start(embedded.Config{Name: "e-eu1", Listen: "127.0.0.1:0", Seeds: []string{first.Addr().String()}})
	if err != nil {
		log.Fatal(err)
	}
	defer second.Close()

	// A node announces itself, and the streams that it has.
	nc, err := first.Connect()
	if err != nil {
		log.Fatal(err)
	}
	defer nc.Close()
	dir, err := natsdir.New(nc, natsdir.Config{Reaches: first.Reaches})
	if err != nil {
		log.Fatal(err)
	}
	defer dir.Close()
	node, err := cdn.Listen(cdn.Config{ID: "o-eu1", URL: "https://o-eu1.example.com", Addr: "127.0.0.1:0", Directory: dir})
	if err != nil {
		log.Fatal(err)
	}
	defer node.Close()
	node.Serve(cdn.RoleOrigin) // as origin.New does

	// The other node finds it. It is an edge or a relay with this Directory.
	edge, err := second.Connect() // or nats.Connect("nats://nats.example.com", natsdir.Options()...)
	if err != nil {
		log.Fatal(err)
	}
	defer edge.Close()
	found, err := natsdir.New(edge, natsdir.Config{Reaches: second.Reaches})
	if err != nil {
		log.Fatal(err)
	}
	defer found.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for ctx.Err() == nil {
		nodes, err := found.Nodes(ctx)
		if err == nil && len(nodes) == 1 {
			fmt.Println(nodes[0].Node, "at", nodes[0].URL)
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	// Output: o-eu1 at https://o-eu1.example.com
}
