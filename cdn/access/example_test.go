package access_test

import (
	"context"
	"fmt"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/access"
	"github.com/deltacdn/delta/cdn/urlauth"
)

// A node lets in whoever has a signed URL, and everybody to what is public; an operator
// blocks a stream while it runs.
func Example() {
	urls, err := urlauth.New(urlauth.Key{ID: "2026", Secret: []byte("32 bytes or so of random numbers")})
	if err != nil {
		panic(err)
	}
	public := cdn.AuthorizerFunc(func(_ context.Context, r cdn.AuthRequest) (cdn.Grant, error) {
		if r.Action == cdn.ActionPlay && cdn.StreamPattern("public/**").Match(r.Stream) {
			return cdn.Grant{}, nil
		}
		return cdn.Grant{}, cdn.ErrUnknownCredential
	})
	list, err := access.New(access.Any(urls, public), access.Policy{
		Rules: []access.Rule{{Effect: access.Deny, Address: "192.0.2.0/24", Reason: "a scraper"}},
	})
	if err != nil {
		panic(err)
	}
	node, err := cdn.Listen(cdn.Config{Addr: "127.0.0.1:0", Authorizer: list})
	if err != nil {
		panic(err)
	}
	defer func() { _ = node.Close() }()
	list.Bind(node) // so that changes end sessions

	try := func(stream cdn.StreamID, from string) {
		_, err := node.Authorize(context.Background(), cdn.AuthRequest{Action: cdn.ActionPlay, Stream: stream, RemoteAddr: from})
		fmt.Println(stream, err)
	}
	try("public/news", "198.51.100.1:1234")
	try("live/match", "198.51.100.1:1234")
	try("public/news", "192.0.2.1:1234")
	if _, err := list.Block("public/**", "asked by its owner", time.Time{}); err != nil {
		panic(err)
	}
	try("public/news", "198.51.100.1:1234")
	// Output:
	// public/news <nil>
	// live/match play live/match: no credential of a known kind: unauthorized
	// public/news play public/news: forbidden: rule 0 of the access list denies play of public/news: a scraper
	// public/news play public/news: forbidden: block 0 of the access list denies play of public/news: asked by its owner
}
