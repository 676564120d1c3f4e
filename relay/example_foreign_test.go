package relay_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/origin"
	"github.com/deltacdn/delta/relay"
	"github.com/deltacdn/delta/signal/whep"
	"github.com/deltacdn/delta/signal/whip"
)

// A node has the streams of any WHEP server: it plays them as a viewer does, once for all
// of its own viewers. Here the server is Delta's, and might be another make's.
func ExampleNewPull() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	server := playing(ctx) // has the stream at /whep/demo
	defer server.Close()

	node, _ := cdn.Listen(cdn.Config{Addr: "127.0.0.1:0"})
	defer node.Close()
	up, _ := relay.New(node, relay.Config{
		Directory: cdn.Static(server.URL + "/whep"),
		Fetcher:   relay.NewPull(node, relay.PullConfig{}),
	})
	sub, _ := up.Open(ctx, cdn.Request{Stream: "demo"}) // or edge.New(node, edge.Config{Source: up})
	defer sub.Close()
	fmt.Println(sub.Stream().Ready(ctx), sub.Stream().Tracks()[0].Info().Codec.MimeType)
	// Output:
	// <nil> audio/opus
}

// A stream is sent on to another service, as long as it lasts.
func ExamplePush() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	node, live, stop := publishing(ctx) // the stream "demo"
	defer node.Close()
	server := taking(ctx) // the other service
	defer server.Close()

	push, err := relay.NewPush(node, relay.PushConfig{Source: live, Stream: "demo", URL: server.URL + "/whip/channel"})
	if err != nil {
		fmt.Println(err)
		return
	}
	time.AfterFunc(time.Second, stop) // the stream ends
	fmt.Println(push.Run(ctx), push.Stats().Packets > 0)
	// Output:
	// stream ended true
}

// publishing starts a node and publishes silence there until stop is called.
func publishing(ctx context.Context) (node *cdn.Node, live *origin.Origin, stop func()) {
	node, _ = cdn.Listen(cdn.Config{Addr: "127.0.0.1:0"})
	live, _ = origin.New(node, origin.Config{})
	pub, err := live.Publish(ctx, origin.PublishRequest{Stream: "demo", Tracks: []cdn.TrackInfo{{Codec: cdn.Codec{MimeType: "audio/opus"}}}})
	if err != nil {
		panic(err)
	}
	go func() {
		for pub.Track("audio").WriteSample([]byte{0xf8, 0xff, 0xfe}, 20*time.Millisecond) == nil {
			time.Sleep(20 * time.Millisecond)
		}
	}()
	return node, live, func() { _ = pub.Close() }
}

// taking is a WHIP server until ctx ends.
func taking(ctx context.Context) *httptest.Server {
	node, _ := cdn.Listen(cdn.Config{Addr: "127.0.0.1:0"})
	context.AfterFunc(ctx, func() { _ = node.Close() })
	live, _ := origin.New(node, origin.Config{})
	handler, _ := whip.New(live, whip.Config{})
	return httptest.NewServer(handler)
}

// playing is a WHEP server that has the stream until ctx ends.
func playing(ctx context.Context) *httptest.Server {
	node, live, _ := publishing(ctx)
	context.AfterFunc(ctx, func() { _ = node.Close() })
	view, _ := edge.New(node, edge.Config{Source: live})
	handler, _ := whep.New(view, whep.Config{})
	return httptest.NewServer(handler)
}
