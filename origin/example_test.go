package origin_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/origin"
	"github.com/deltacdn/delta/signal/inproc"
)

// An origin lets a publisher that comes back take its stream over, and nobody
// else.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()

	node, err := cdn.Listen(cdn.Config{
		Addr: "127.0.0.1:0",
		Authorizer: cdn.AuthorizerFunc(func(_ context.Context, r cdn.AuthRequest) (cdn.Grant, error) {
			if r.Credential == "" {
				return cdn.Grant{}, cdn.ErrUnauthorized
			}
			return cdn.Grant{Subject: r.Credential}, nil // a real one looks the token up
		}),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer node.Close()
	live, _ := origin.New(node, origin.Config{Takeover: origin.TakeoverSameSubject})
	signaling := inproc.New(inproc.Config{})
	signaling.Handle("http://node/whip/", live)

	publish := func(token string) error {
		p, err := cdntest.NewPublisher(ctx, cdntest.PublisherConfig{
			Dialer: signaling, URL: "http://node/whip/demo", Stream: "demo", Credential: token,
		})
		if err != nil {
			return err
		}
		defer p.Kill() // like one whose network has gone
		return p.WaitConnected(ctx)
	}
	fmt.Println("nobody:", errors.Is(publish(""), cdn.ErrUnauthorized))
	fmt.Println("ada:", publish("ada"))
	fmt.Println("bob:", errors.Is(publish("bob"), cdn.ErrAlreadyPublishing))
	fmt.Println("ada again:", publish("ada"))
	// Output:
	// nobody: true
	// ada: <nil>
	// bob: true
	// ada again: <nil>
}

// A program publishes its own media: samples here, one each 20 ms. Whoever has the
// stream plays it as any other.
func ExampleOrigin_Publish() {
	node, _ := cdn.Listen(cdn.Config{Addr: "127.0.0.1:0"})
	defer node.Close()
	live, _ := origin.New(node, origin.Config{})

	pub, _ := live.Publish(context.Background(), origin.PublishRequest{
		Stream: "demo",
		Tracks: []cdn.TrackInfo{{Codec: cdn.Codec{MimeType: "audio/opus"}}},
	})
	silence := []byte{0xf8, 0xff, 0xfe} // 20 ms of Opus
	for range 10 {
		_ = pub.Track("audio").WriteSample(silence, 20*time.Millisecond) // fails once pub has ended
		time.Sleep(20 * time.Millisecond)
	}
	fmt.Println("packets:", node.Stats().Streams[0].Tracks[0].Layers[0].Packets)
	fmt.Println(pub.Close())
	// Output:
	// packets: 10
	// <nil>
}
