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
