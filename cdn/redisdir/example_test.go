package redisdir_test

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/redisdir"
)

// A node announces itself on Redis, and another one finds it.
func Example() {
	addr, stop := startServer() // of Debian's redis-server
	defer stop()
	client := redis.NewUniversalClient(&redis.UniversalOptions{
		Addrs:                 []string{addr}, // several: a Cluster; with MasterName: Sentinels
		ContextTimeoutEnabled: true,           // without it calls do not end in time
	})
	defer client.Close()
	dir, _ := redisdir.New(client, redisdir.Config{})
	defer dir.Close()
	node, _ := cdn.Listen(cdn.Config{ID: "o-eu1", URL: "https://o-eu1.example.com", Addr: "127.0.0.1:0", Directory: dir})
	defer node.Close()
	node.Serve(cdn.RoleOrigin) // as origin.New does

	// The other node is an edge or a relay with a Directory of its own.
	found, _ := redisdir.New(client, redisdir.Config{})
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
