package relay_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/origin"
	"github.com/deltacdn/delta/relay"
	"github.com/deltacdn/delta/signal/whep"
	"github.com/deltacdn/delta/signal/whip"
)

// Two nodes that talk over sockets only: an edge whose point of entry is the
// origin fetches a stream when its first viewer asks.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()

	// the origin's machine
	one, _ := cdn.Listen(cdn.Config{Addr: "127.0.0.1:0"})
	defer one.Close()
	live, _ := origin.New(one, origin.Config{})
	publish, _ := whip.New(live, whip.Config{})
	nodes, _ := relay.Handler(one, live)
	mux := http.NewServeMux()
	mux.Handle("/whip/", publish)
	mux.Handle(relay.Prefix, nodes)
	originServer := httptest.NewServer(mux)
	defer originServer.Close()

	// the edge's machine
	two, _ := cdn.Listen(cdn.Config{Addr: "127.0.0.1:0"})
	defer two.Close()
	up, _ := relay.New(two, relay.Config{Directory: cdn.Static(originServer.URL)})
	view, _ := edge.New(two, edge.Config{Source: up})
	play, _ := whep.New(view, whep.Config{})
	edgeServer := httptest.NewServer(play)
	defer edgeServer.Close()

	publisher, err := cdntest.NewPublisher(ctx, cdntest.PublisherConfig{Dialer: &whip.Client{}, URL: originServer.URL + "/whip/demo"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer publisher.Stop(ctx)
	viewer, err := cdntest.NewViewer(ctx, cdntest.ViewerConfig{Dialer: &whep.Client{}, URL: edgeServer.URL + "/whep/demo"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer viewer.Close()

	fmt.Println("ten frames:", viewer.WaitFrames(ctx, 10))
	fmt.Println("streams at the edge:", len(two.Stats().Streams))
	// Output:
	// ten frames: <nil>
	// streams at the edge: 1
}
