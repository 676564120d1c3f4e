// Command goget is a stranger's program: it is built outside of this
// repository, with Delta as `go get` brings it, and so shows that what is
// exported suffices. .ci/goget/run builds and runs it.
//
// It composes a network with a signaling, a discovery, sockets and services of its
// own: see signaling.go, discovery.go, network.go and service.go.
package main

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/origin"
	"github.com/deltacdn/delta/relay"
)

func main() {
	log.SetFlags(0)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := run(ctx); err != nil {
		log.Fatal("goget: ", err)
	}
	fmt.Println("goget: ok")
}

// run publishes a stream at an origin, has an edge find it in the directory and
// fetch it, and sees it arrive at a viewer: two nodes, real sockets.
func run(ctx context.Context) error {
	const stream, silence = "live/goget", "live/silence"
	dir, signaling, sockets := newDirectory(), newExchange(), newNetwork()

	one, err := cdn.Listen(cdn.Config{Addr: "127.0.0.1:0", URL: "memory://origin", Directory: dir})
	if err != nil {
		return err
	}
	defer one.Close()
	live, err := origin.New(one, origin.Config{})
	if err != nil {
		return err
	}
	tone, err := newTone(ctx, one, silence)
	if err != nil {
		return err
	}
	nodes, err := relay.NewServer(one, cdn.First(live, tone))
	if err != nil {
		return err
	}
	signaling.serve("memory://origin/publish", live)
	signaling.serve("memory://origin"+relay.Prefix+stream, nodes)
	signaling.serve("memory://origin"+relay.Prefix+silence, nodes)

	two, err := cdn.Listen(cdn.Config{Addr: "127.0.0.1:0", Net: sockets})
	if err != nil {
		return err
	}
	defer two.Close()
	up, err := relay.New(two, relay.Config{
		Directory: dir, Fetcher: relay.NewWHEP(two, relay.WHEPConfig{Dialer: signaling}),
	})
	if err != nil {
		return err
	}
	view, err := edge.New(two, edge.Config{Source: up})
	if err != nil {
		return err
	}
	signaling.serve("memory://edge/play", view)

	if err := watch(ctx, signaling, dir, stream); err != nil {
		return err
	}
	if n := sockets.sockets.Load(); n < 2 {
		return fmt.Errorf("the node opened %d sockets: not its port and one to the origin", n)
	}
	if err := listen(ctx, up, silence); err != nil {
		return fmt.Errorf("listening to a service of our own: %w", err)
	}
	fmt.Printf("%d packets of a service of our own came through two nodes\n", enough)
	return nil
}

// watch publishes the stream at the origin, and sees it at the edge.
func watch(ctx context.Context, signaling *exchange, dir *directory, stream cdn.StreamID) error {
	publisher, err := cdntest.NewPublisher(ctx, cdntest.PublisherConfig{Dialer: signaling, URL: "memory://origin/publish", Stream: stream})
	if err != nil {
		return err
	}
	defer publisher.Stop(ctx)
	if err := waitAnnounced(ctx, dir, stream); err != nil {
		return err
	}
	viewer, err := cdntest.NewViewer(ctx, cdntest.ViewerConfig{Dialer: signaling, URL: "memory://edge/play", Stream: stream})
	if err != nil {
		return err
	}
	defer viewer.Close()
	if err := viewer.WaitFrames(ctx, 30); err != nil {
		return err
	}
	report := viewer.Report().Video()
	if report.FaultCount > 0 {
		return fmt.Errorf("changed on the way: %v", report.Faults)
	}
	fmt.Printf("%d frames of %s came through two nodes as they were sent\n", len(report.Frames), report.Codec.MimeType)
	return nil
}

// waitAnnounced waits until the origin has announced the stream.
func waitAnnounced(ctx context.Context, dir *directory, stream cdn.StreamID) error {
	for {
		entries, err := dir.Find(ctx, stream)
		if err != nil || len(entries) > 0 {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}
