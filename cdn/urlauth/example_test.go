package urlauth_test

import (
	"context"
	"fmt"
	"net/url"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/urlauth"
)

// A shop signs the address at which a buyer can play a stream for a year. The node has the
// same key and lets in who comes by that address.
func Example() {
	key := urlauth.Key{ID: "2026", Secret: []byte("32 bytes or so of random numbers")}
	shop, err := urlauth.New(key)
	if err != nil {
		panic(err)
	}
	signed, err := shop.Sign("https://edge.example/whep/live/match", urlauth.Permit{
		Actions: []cdn.Action{cdn.ActionPlay}, Streams: "live/match", ID: "order-7",
		Expires: time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC),
	})
	if err != nil {
		panic(err)
	}
	fmt.Println(signed)

	node, err := urlauth.New(key) // as cdn.Config.Authorizer
	if err != nil {
		panic(err)
	}
	u, err := url.Parse(signed)
	if err != nil {
		panic(err)
	}
	r := cdn.AuthRequest{Action: cdn.ActionPlay, Stream: "live/match", Query: u.Query()}
	grant, err := node.Authorize(context.Background(), r)
	fmt.Println(grant.ID, err)
	r.Action = cdn.ActionPublish
	_, err = node.Authorize(context.Background(), r)
	fmt.Println(err)
	node.Revoke("order-7")
	r.Action = cdn.ActionPlay
	_, err = node.Authorize(context.Background(), r)
	fmt.Println(err)
	// Output:
	// https://edge.example/whep/live/match?delta-actions=play&delta-expires=4070908800&delta-id=order-7&delta-key=2026&delta-signature=q_OjAbTW0DIfIMkYWRtrCGatwqAYpHHXYnL7MXPmhsE&delta-streams=live%2Fmatch
	// order-7 <nil>
	// signed URL "order-7" of key "2026": forbidden: it does not allow publish
	// signed URL "order-7" of key "2026": revoked: unauthorized
}
