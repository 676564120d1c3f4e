package urlauth_test

import (
	"context"
	"fmt"
	"net/url"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/urlauth"
)

var key = urlauth.Key{ID: "2026", Secret: []byte("32 bytes or so of random numbers")}

// A shop signs the address at which a buyer can play a stream until a date.
func ExampleAuthority_Sign() {
	shop, _ := urlauth.New(key)
	signed, err := shop.Sign("https://edge.example/whep/live/match", urlauth.Permit{
		Actions: []cdn.Action{cdn.ActionPlay}, Streams: "live/match", ID: "order-7",
		Expires: time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC),
	})
	fmt.Println(signed, err)
	// Output:
	// https://edge.example/whep/live/match?delta-actions=play&delta-expires=4070908800&delta-id=order-7&delta-key=2026&delta-signature=q_OjAbTW0DIfIMkYWRtrCGatwqAYpHHXYnL7MXPmhsE&delta-streams=live%2Fmatch <nil>
}

// A node has the same key, and lets in whoever comes by a signed address.
func Example() {
	query, _ := url.ParseQuery("delta-actions=play&delta-expires=4070908800&delta-id=order-7&delta-key=2026&delta-signature=q_OjAbTW0DIfIMkYWRtrCGatwqAYpHHXYnL7MXPmhsE&delta-streams=live%2Fmatch")
	authority, _ := urlauth.New(key) // as cdn.Config.Authorizer
	try := func(action cdn.Action) {
		grant, err := authority.Authorize(context.Background(), cdn.AuthRequest{Action: action, Stream: "live/match", Query: query})
		fmt.Printf("%s: %q %v\n", action, grant.ID, err)
	}
	try(cdn.ActionPlay)
	try(cdn.ActionPublish)
	authority.Revoke("order-7")
	try(cdn.ActionPlay)
	// Output:
	// play: "order-7" <nil>
	// publish: "" signed URL "order-7" of key "2026": forbidden: it does not allow publish
	// play: "" signed URL "order-7" of key "2026": revoked: unauthorized
}
