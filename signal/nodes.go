package signal

import "context"

// A LinkHandler answers other nodes that request a link: a relay's server is one. Link is
// called concurrently.
type LinkHandler interface {
	// Link answers an offer. Offer and answer are opaque to the carrier, which need not
	// keep them secret nor authenticate their sender. Errors wrap the sentinels of package
	// cdn.
	Link(ctx context.Context, o LinkOffer) (answer []byte, err error)
}

// A LinkOffer is another node's request for a link, of a few KiB of JSON.
type LinkOffer struct {
	Body []byte
	// RemoteAddr is host:port of the other node, if known. Where nothing is configured by
	// which nodes know each other ([cdn.Trust]), only those at loopback addresses are let
	// in.
	RemoteAddr string
}

// A LinkDialer is the client side: it carries an offer to the node at url, a signaling base
// URL as in [cdn.Entry], with or without a trailing slash, and returns the answer. DialLink
// is called concurrently. [link.Client] is one over HTTP; cdntest.TestLinkDialer tests one
// together with its server.
//
// [link.Client]: https://pkg.go.dev/github.com/deltacdn/delta/signal/link#Client
type LinkDialer interface {
	// DialLink carries the offer and the answer unchanged, each of at most 32 KiB. It
	// fails with an error wrapping [cdn.ErrUnsupported] where the other side knows no
	// links, and in no other case, since streams are then fetched in another way. Errors
	// of the other side's LinkHandler arrive as those of a [Handler] do ([Dialer]). ctx
	// bounds the call: when it ends, DialLink fails at once. ctx may carry the other
	// node's address ([WithAddr]).
	DialLink(ctx context.Context, url string, offer []byte) (answer []byte, err error)
}
