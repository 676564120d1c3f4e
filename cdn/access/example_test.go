package access_test

import (
	"context"
	"fmt"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/access"
	"github.com/deltacdn/delta/cdn/urlauth"
)

// An operator keeps an address out, and blocks a stream while the node runs. A list around an
// Authorizer asks it who a client is. This list has none, and lets everybody else in.
func Example() {
	list, _ := access.New(nil, access.Policy{
		Rules: []access.Rule{{Effect: access.Deny, Address: "192.0.2.0/24", Reason: "a scraper"}},
	})
	node, _ := cdn.Listen(cdn.Config{Addr: "127.0.0.1:0", Authorizer: list})
	defer node.Close()
	list.Bind(node) // so that changes end sessions

	try := func(from string) {
		_, err := node.Authorize(context.Background(), cdn.AuthRequest{Action: cdn.ActionPlay, Stream: "news", RemoteAddr: from})
		fmt.Println(err)
	}
	try("198.51.100.1:1234")
	try("192.0.2.1:1234")
	_, _ = list.Block("news", "asked by its owner", time.Time{}) // fails if the pattern makes no sense
	try("198.51.100.1:1234")
	// Output:
	// <nil>
	// play news: forbidden: rule 0 of the access list denies play of news: a scraper
	// play news: forbidden: block 0 of the access list denies play of news: asked by its owner
}

// Clients with a signed URL are let in. Without one, they may play public streams.
func ExampleAny() {
	urls, _ := urlauth.New(urlauth.Key{ID: "2026", Secret: []byte("32 bytes or so of random numbers")})
	public := cdn.AuthorizerFunc(func(_ context.Context, r cdn.AuthRequest) (cdn.Grant, error) {
		if r.Action == cdn.ActionPlay && cdn.StreamPattern("public/**").Match(r.Stream) {
			return cdn.Grant{}, nil
		}
		return cdn.Grant{}, cdn.ErrUnknownCredential
	})
	either := access.Any(urls, public)
	for _, stream := range []cdn.StreamID{"public/news", "live/match"} {
		_, err := either.Authorize(context.Background(), cdn.AuthRequest{Action: cdn.ActionPlay, Stream: stream})
		fmt.Println(stream, err)
	}
	// Output:
	// public/news <nil>
	// live/match no credential of a known kind: unauthorized
}
