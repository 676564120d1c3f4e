package cdn_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/deltacdn/delta/cdn"
)

func ExampleParseStreamID() {
	id, err := cdn.ParseStreamID("live/camera1")
	fmt.Println(id, err)
	_, err = cdn.ParseStreamID("live/../camera1")
	fmt.Println(errors.Is(err, cdn.ErrInvalid), err)
	// Output:
	// live/camera1 <nil>
	// true invalid request: stream id "live/../camera1" has the reserved element ".."
}

// The point of entry is a directory that answers the same for every stream.
func ExampleStatic() {
	entries, err := cdn.Static("https://o1.example.com", "https://o2.example.com").Find(context.Background(), "live/camera1")
	for _, e := range entries {
		fmt.Println(e.URL)
	}
	fmt.Println(err)
	// Output:
	// https://o1.example.com
	// https://o2.example.com
	// <nil>
}

// Nodes announce their streams in a directory under a lease. A publication that
// was superseded cannot come back.
func ExampleNewMemory() {
	ctx := context.Background()
	dir := cdn.NewMemory()
	announce := func(node cdn.NodeID, epoch uint64, hops int) error {
		return dir.Put(ctx, cdn.Entry{
			Stream: "demo", Node: node, URL: "https://" + string(node), Publication: "p", Epoch: epoch, Hops: hops,
		}, time.Minute)
	}
	fmt.Println(announce("relay", 2, 1), announce("origin", 2, 0))
	fmt.Println(errors.Is(announce("ghost", 1, 0), cdn.ErrStale))
	entries, _ := dir.Find(ctx, "demo")
	for _, e := range entries {
		fmt.Println(e.Node, e.Hops)
	}
	// Output:
	// <nil> <nil>
	// true
	// origin 0
	// relay 1
}

// nothing is a Source that has no streams.
type nothing struct{}

func (nothing) Open(_ context.Context, r cdn.Request) (*cdn.Subscription, error) {
	return nil, &cdn.Error{Op: "open", Stream: r.Stream, Err: cdn.ErrNotFound}
}

// First asks one source after the other, as io.MultiReader reads.
func ExampleFirst() {
	_, err := cdn.First(nothing{}, nothing{}).Open(context.Background(), cdn.Request{Stream: "demo"})
	fmt.Println(errors.Is(err, cdn.ErrNotFound), err)
	// Output:
	// true open demo: stream not found
}

// Nodes know each other by a secret, and clients show a token: an Authorizer leaves
// nodes to the secret in three lines.
func ExampleAuthorizer() {
	authorizer := cdn.AuthorizerFunc(func(_ context.Context, r cdn.AuthRequest) (cdn.Grant, error) {
		if r.Trusted {
			return cdn.Grant{}, nil
		}
		if r.Credential != "token" {
			return cdn.Grant{}, cdn.ErrUnauthorized
		}
		return cdn.Grant{Subject: "alice"}, nil
	})
	node, err := cdn.Listen(cdn.Config{
		Addr: "127.0.0.1:0", Trust: cdn.Trust{Secret: "0123456789abcdef0123456789abcdef"}, Authorizer: authorizer,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer node.Close()
	for _, r := range []cdn.AuthRequest{
		{Action: cdn.ActionFetch, Stream: "live/camera1", Trusted: true}, // a node, over its link
		{Action: cdn.ActionPlay, Stream: "live/camera1", Credential: "token"},
		{Action: cdn.ActionPlay, Stream: "live/camera1"},
	} {
		_, err := node.Authorize(context.Background(), r)
		fmt.Println(err)
	}
	// Output:
	// <nil>
	// <nil>
	// play live/camera1: unauthorized
}
