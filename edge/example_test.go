package edge_test

import (
	"context"
	"fmt"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/origin"
	"github.com/deltacdn/delta/signal/inproc"
)

// An origin and an edge on one node: what is published to the one is played by
// the other. Signaling is in process here; media goes over real sockets.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()

	node, err := cdn.Listen(cdn.Config{Addr: "127.0.0.1:0"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer node.Close()
	live, _ := origin.New(node, origin.Config{})
	view, _ := edge.New(node, edge.Config{Source: live})

	signaling := inproc.New(inproc.Config{})
	signaling.Handle("http://node/whip/", live)
	signaling.Handle("http://node/whep/", view)

	publisher, err := cdntest.NewPublisher(ctx, cdntest.PublisherConfig{Dialer: signaling, URL: "http://node/whip/demo", Stream: "demo"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer publisher.Stop(ctx)
	viewer, err := cdntest.NewViewer(ctx, cdntest.ViewerConfig{Dialer: signaling, URL: "http://node/whep/demo", Stream: "demo"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer viewer.Close()

	fmt.Println("ten frames:", viewer.WaitFrames(ctx, 10))
	fmt.Println("changed on the way:", viewer.Report().Video().FaultCount)
	fmt.Println("viewers:", view.Stats().Viewers["demo"])
	// Output:
	// ten frames: <nil>
	// changed on the way: 0
	// viewers: 1
}

// Viewers are listed, given another layer, and ended with a reason that they are told.
func ExampleEdge_SetLayer() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	node, view, viewer := watching(ctx) // a viewer of a stream with the layers "l" and "h"
	defer node.Close()
	for _, v := range view.Stats().Sessions {
		fmt.Println(v.Stream, view.SetLayer(v.Session, "l"))
	}
	fmt.Println("asked for:", view.Stats().Sessions[0].Named)
	for _, s := range node.Sessions() {
		if s.Action == cdn.ActionPlay {
			_ = node.EndSession(s.Session, fmt.Errorf("%w: closing time", cdn.ErrForbidden))
		}
	}
	fmt.Println("told:", viewer.WaitBye(ctx))
	// Output:
	// demo <nil>
	// asked for: l
	// told: <nil>
}

// watching starts a node with a publisher and a viewer.
func watching(ctx context.Context) (*cdn.Node, *edge.Edge, *cdntest.Viewer) {
	node, _ := cdn.Listen(cdn.Config{Addr: "127.0.0.1:0"})
	live, _ := origin.New(node, origin.Config{})
	view, _ := edge.New(node, edge.Config{Source: live})
	signaling := inproc.New(inproc.Config{})
	signaling.Handle("http://node/whip/", live)
	signaling.Handle("http://node/whep/", view)
	_, err := cdntest.NewPublisher(ctx, cdntest.PublisherConfig{
		Dialer: signaling, URL: "http://node/whip/demo", Stream: "demo",
		Video: &cdntest.Video{Layers: []cdntest.VideoLayer{{RID: "l", Bitrate: 100_000}, {RID: "h", Bitrate: 300_000}}},
	})
	if err != nil {
		panic(err)
	}
	viewer, err := cdntest.NewViewer(ctx, cdntest.ViewerConfig{Dialer: signaling, URL: "http://node/whep/demo", Stream: "demo"})
	if err != nil {
		panic(err)
	}
	if err := viewer.WaitFrames(ctx, 10); err != nil {
		panic(err)
	}
	return node, view, viewer
}
