package signal

import "context"

// A LinkHandler answers other nodes that want a link: a relay's server is one.
// Link is called concurrently.
type LinkHandler interface {
	// Link answers an offer. What the two hold is for the nodes to understand;
	// the carrier need not keep it secret, nor prove who sent it. Errors wrap the
	// sentinels of package cdn.
	Link(ctx context.Context, o LinkOffer) (answer []byte, err error)
}

// A LinkOffer is another node's wish for a link, of a few KiB of JSON.
type LinkOffer struct {
	Body []byte
	// RemoteAddr is host:port of the asking node, if known. Where nothing is
	// configured by which nodes know each other, only those at loopback addresses
	// are let in.
	RemoteAddr string
}

// A LinkDialer is the client side: it carries an offer to the node at url, a
// signaling base URL as in [cdn.Entry], with or without a slash at its end, and
// brings back the answer. DialLink is called concurrently. [link.Client] is one over
// HTTP; cdntest.TestLinkDialer tests one together with its server.
//
// [link.Client]: https://pkg.go.dev/github.com/deltacdn/delta/signal/link#Client
type LinkDialer interface {
	// DialLink carries offer, and the answer back, to the byte: each of 32 KiB at
	// the most. It fails with an error wrapping [cdn.ErrUnsupported] where the
	// other side knows no links, and in no other case, since the stream is then
	// fetched in another way. Errors of the other side's LinkHandler arrive as
	// those of a [Handler] do ([Dialer]). ctx bounds the asking: when it ends,
	// DialLink fails at once.
	DialLink(ctx context.Context, url string, offer []byte) (answer []byte, err error)
}
