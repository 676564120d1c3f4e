// Package signal defines how an SDP offer becomes a session: the one method
// that every signaling protocol calls. [github.com/deltacdn/delta/signal/whip]
// and [github.com/deltacdn/delta/signal/whep] call it over HTTP; a server's own
// WebSocket, NATS or gRPC signaling is another caller of it, in the same few
// lines.
package signal

import (
	"context"
	"time"

	"github.com/deltacdn/delta/cdn"
)

// A Handler answers SDP offers: an origin answers publishers, an edge answers
// viewers. Offer is called concurrently.
type Handler interface {
	// Offer starts a session for o and returns it with its answer made. ctx
	// bounds the making; the session outlives it. What turns out after the
	// answer is the session's Err, and not Offer's. Errors wrap the sentinels of
	// package cdn: [cdn.ErrNotFound], [cdn.ErrInvalid], [cdn.ErrNoCommonCodec],
	// [cdn.ErrUnauthorized], …
	Offer(ctx context.Context, o Offer) (Session, error)
}

// An Offer is a client's wish for a session.
type Offer struct {
	Stream cdn.StreamID
	// SDP is the client's session description (RFC 8829). Empty where the
	// server is to make the offer: see [Offerer].
	SDP string
	// Credential is the bearer token that came with it, "" if none did.
	Credential string
	// RemoteAddr is host:port of the signaling client, if known. A node that
	// fetches without a link counts as local only at a loopback address.
	RemoteAddr string
	// Layer names the layer (simulcast RID) that a viewer wants. Empty: the
	// best.
	Layer string
	// Publication names what a publisher sends, if it sends the same to several
	// origins: those who receive the stream may go over from one to the other.
	// Empty: this one only.
	Publication string
	// Node and Path are set by nodes: who fetches, and the nodes that the
	// wish came through ([cdn.Request]).
	Node cdn.NodeID
	Path []cdn.NodeID
}

// A Session is one client's connection, owned by whom it was returned to. Its
// methods may be called concurrently.
type Session interface {
	// ID is unguessable: to know it is to be allowed to change the session.
	ID() string
	// SDP returns the server's current session description: the answer to the
	// client's offer.
	SDP() string
	// Patch takes a trickle ICE SDP fragment (RFC 8840): candidates, or new
	// ICE credentials, which restart ICE. The fragment that it returns is for
	// the client; "" if there is nothing to say.
	Patch(ctx context.Context, fragment string) (string, error)
	// Done is closed when the session has ended; Err then says why.
	Done() <-chan struct{}
	Err() error
	// Close ends the session, whose client has said goodbye, and waits for it. Err
	// is [cdn.ErrLeft] then. It is idempotent.
	Close() error
}

// An EndableSession is a Session that can be ended for another reason than that its
// client has said goodbye: the sessions of origins and edges are.
type EndableSession interface {
	Session
	// End has the session end for the reason given, of which its client is told as
	// far as the connection can say it, and does not wait. The first reason stays.
	End(err error)
}

// An Offerer is a Handler that can also make the offer itself, as in WHEP's
// server-offer flow: the client posts nothing, gets an offer and answers it.
// Nodes fetch from one another this way, since only the server knows what the
// stream holds.
type Offerer interface {
	// Invite starts a session for o, whose SDP is empty. The session's SDP is
	// the offer; it waits for the client's answer for a bounded time.
	Invite(ctx context.Context, o Offer) (OfferedSession, error)
}

// An OfferedSession is a Session whose SDP is an offer.
type OfferedSession interface {
	Session
	// Accept takes the client's answer. It can succeed once.
	Accept(ctx context.Context, answer string) error
}

// A Dialer is the client side: it carries an offer to a server and brings back
// what it says. The HTTP clients of whip and whep are Dialers; so is whatever
// a user's own nodes speak to each other.
//
// cdntest.TestSignaling tests what is said here of a Dialer and its sessions,
// together with the server side of the protocol.
type Dialer interface {
	// Dial asks the server at url for a session. With o.SDP empty it asks for
	// an invitation ([Offerer]). Descriptions and fragments arrive to the byte,
	// both ways, and so do the offer's other fields where the protocol has a place
	// for them; the server fills in RemoteAddr.
	//
	// Errors of the server's Handler arrive as a [*cdn.Error] that wraps the same
	// sentinel of package cdn ([cdn.ErrorCode] and [cdn.ErrorFor] can carry it) and
	// has the same RetryAfter, to the second. One that wraps no sentinel is an
	// error all the same; its text stays at the server. A [*CounterOffer] can be
	// answered.
	//
	// ctx bounds the asking: when it ends, Dial fails at once, and the server closes
	// a session that it has made or is making.
	Dial(ctx context.Context, url string, o Offer) (RemoteSession, error)
}

// A RemoteSession is a session seen from the client's side. Its methods may be
// called concurrently. Errors are as those of [Dialer].
type RemoteSession interface {
	// SDP returns the server's answer, or its offer if it was invited to make one.
	SDP() string
	// Accept answers the server's offer; only where the server made one. It can
	// succeed once; after that it fails with [cdn.ErrInvalid].
	Accept(ctx context.Context, answer string) error
	// Patch sends a trickle ICE fragment and returns the server's, if any. Once
	// the server has ended the session, it fails with the reason.
	Patch(ctx context.Context, fragment string) (string, error)
	// Close ends the session at the server. ctx bounds the attempt. It is
	// idempotent, and that the server has ended the session already is no error.
	Close(ctx context.Context) error
}

// A NotifyingSession is a RemoteSession whose client hears of its end. The
// sessions of a [Dialer] are such where its protocol and the server can tell.
type NotifyingSession interface {
	RemoteSession
	// Done is closed when the session has ended: when the server said so, or when
	// Close was called here. Some listen to the server from the first call of Done
	// on, until then: who has called Done has to call Close.
	Done() <-chan struct{}
	// Err returns why the session ended, nil while it has not: what the server
	// said, wrapping a sentinel of package cdn, and [cdn.ErrLeft] after Close.
	Err() error
}

// A CounterOffer is the error of a Dialer whose server did not take the client's
// offer and made one of its own (draft-ietf-wish-whep-04, "406 Not Acceptable").
// It wraps [cdn.ErrUnsupported]. A caller that can answer it does so by
// Session.Accept, in time; one that cannot need do nothing.
type CounterOffer struct {
	Session RemoteSession // whose SDP is the server's offer
	Until   time.Time     // when the offer expires
}

func (c *CounterOffer) Error() string { return "the server made an offer of its own" }

// Unwrap returns [cdn.ErrUnsupported].
func (c *CounterOffer) Unwrap() error { return cdn.ErrUnsupported }
