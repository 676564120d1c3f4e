// Package signal defines how an SDP offer becomes a session: the one method that every
// signaling protocol calls. [github.com/deltacdn/delta/signal/whip] and
// [github.com/deltacdn/delta/signal/whep] call it over HTTP; signaling of your own over
// WebSocket, NATS or gRPC calls it in the same few lines.
package signal

import (
	"context"
	"net/url"
	"time"

	"github.com/deltacdn/delta/cdn"
)

// A Handler answers SDP offers: an origin answers publishers, an edge answers
// viewers. Offer is called concurrently.
type Handler interface {
	// Offer starts a session for o and returns it with its answer. ctx bounds the call;
	// the session outlives it. A failure after the answer is the session's Err. Errors
	// wrap the sentinels of package cdn: [cdn.ErrNotFound], [cdn.ErrInvalid],
	// [cdn.ErrNoCommonCodec], [cdn.ErrUnauthorized], …
	Offer(ctx context.Context, o Offer) (Session, error)
}

// An Offer is a client's request for a session.
type Offer struct {
	Stream cdn.StreamID
	// SDP is the client's session description (RFC 8829). It is empty where the server is
	// to make the offer: see [Offerer].
	SDP string
	// Credential is the client's bearer token, "" if there is none.
	Credential string
	// Query has the parameters of the URL that the client requested, nil where its
	// signaling has no URL. It must not be changed.
	Query url.Values
	// RemoteAddr is host:port of the signaling client, if known. A node that
	// fetches without a link counts as local only at a loopback address.
	RemoteAddr string
	// Layer is the layer (simulcast RID) that a viewer asks for; "": the best.
	Layer string
	// Adapt is how a viewer wants its video fitted to its path.
	Adapt Adapt
	// Publication names what a publisher sends, if it sends the same to several origins:
	// the stream may then be fetched from one or the other. "": it sends to this one only.
	Publication string
	// Node and Path are set by nodes: the node that fetches, and the nodes that the
	// request came through ([cdn.Request]).
	Node cdn.NodeID
	Path []cdn.NodeID
}

// A RedirectError is the error of a [Handler] that sends the client to another node, which
// has its endpoints at the same paths. Err says why. Over HTTP it is "307 Temporary
// Redirect" (RFC 9725 section 4.5), which clients follow.
type RedirectError struct {
	URL string // the base URL of that node's signaling ([cdn.Entry].URL)
	Err error
}

func (e *RedirectError) Error() string { return e.Err.Error() + ", but at " + e.URL }

// Unwrap returns Err.
func (e *RedirectError) Unwrap() error { return e.Err }

// A Session is one client's connection. The caller to whom it was returned has to close it.
// Its methods may be called concurrently.
type Session interface {
	// ID cannot be guessed: whoever knows it may change the session.
	ID() string
	// SDP returns the server's current session description: the answer to the
	// client's offer.
	SDP() string
	// Patch applies a trickle ICE SDP fragment (RFC 8840): candidates, or new ICE
	// credentials, which restart ICE. It returns a fragment for the client, "" if there is
	// none.
	Patch(ctx context.Context, fragment string) (string, error)
	// Done is closed when the session has ended; Err then says why.
	Done() <-chan struct{}
	Err() error
	// Close ends the session on behalf of its client and waits for the end. Err is
	// [cdn.ErrLeft] then. It is idempotent.
	Close() error
}

// An EndableSession is a Session that can be ended for any reason. The sessions of origins
// and edges are.
type EndableSession interface {
	Session
	// End ends the session and does not wait. err is the reason, which the client is told
	// as far as the connection can carry it. Only the first reason counts.
	End(err error)
}

// An Offerer is a Handler that can also make the offer itself, as in WHEP's server-offer
// flow: the client posts nothing, gets an offer and answers it. Nodes fetch from each other
// this way, since only the server knows the stream's tracks.
type Offerer interface {
	// Invite starts a session for o, whose SDP is empty. The session's SDP is the offer.
	// The session ends if the client does not answer in time.
	Invite(ctx context.Context, o Offer) (OfferedSession, error)
}

// An OfferedSession is a Session whose SDP is an offer.
type OfferedSession interface {
	Session
	// Accept applies the client's answer. It can succeed once.
	Accept(ctx context.Context, answer string) error
}

// A Dialer is the client side of signaling: it carries an offer to a server and returns the
// server's answer. The HTTP clients of packages whip and whep are Dialers.
//
// cdntest.TestSignaling tests this contract of a Dialer and its sessions, together with the
// server side of the protocol.
type Dialer interface {
	// Dial requests a session from the server at url. With o.SDP empty it requests an
	// offer ([Offerer]). Descriptions and fragments arrive unchanged, both ways, and so do
	// the offer's other fields where the protocol has a place for them; the server fills
	// in Query and RemoteAddr.
	//
	// Errors of the server's Handler arrive as a [*cdn.Error] that wraps the same sentinel
	// of package cdn ([cdn.ErrorCode] and [cdn.ErrorFor] can carry it) and has the same
	// RetryAfter, to the second. One that wraps no sentinel is an error all the same; its
	// text is not sent. A [*CounterOffer] can be answered.
	//
	// ctx bounds the call: when it ends, Dial fails at once, and the server closes a
	// session that it has made or is making. ctx may carry the server's address
	// ([WithAddr]); the session's requests then go to the same address.
	Dial(ctx context.Context, url string, o Offer) (RemoteSession, error)
}

// A RemoteSession is a session seen from the client's side. Its methods may be
// called concurrently. Errors are as those of [Dialer].
type RemoteSession interface {
	// SDP returns the server's answer, or its offer if that was requested.
	SDP() string
	// Accept answers the server's offer, where the server made one. It can succeed once;
	// after that it fails with [cdn.ErrInvalid].
	Accept(ctx context.Context, answer string) error
	// Patch sends a trickle ICE fragment and returns the server's, if any. Once
	// the server has ended the session, it fails with the reason.
	Patch(ctx context.Context, fragment string) (string, error)
	// Close ends the session at the server. ctx bounds the attempt. It is idempotent, and
	// succeeds if the server has ended the session already.
	Close(ctx context.Context) error
}

// A NotifyingSession is a RemoteSession whose client is notified of its end. The sessions
// of a [Dialer] are, where its protocol and the server support that.
type NotifyingSession interface {
	RemoteSession
	// Done is closed when the session has ended: when the server said so, or after Close.
	// The session may listen to the server from the first call of Done until then, so
	// whoever calls Done must call Close.
	Done() <-chan struct{}
	// Err returns why the session ended, nil while it has not: the server's reason, which
	// wraps a sentinel of package cdn, or [cdn.ErrLeft] after Close.
	Err() error
}

// A CounterOffer is the error of a Dialer whose server rejected the client's offer and made
// one of its own (draft-ietf-wish-whep-04, "406 Not Acceptable"). It wraps
// [cdn.ErrUnsupported]. A caller that can answer it calls Session.Accept ahead of Until; one
// that cannot need do nothing.
type CounterOffer struct {
	Session RemoteSession // whose SDP is the server's offer
	Until   time.Time     // when the offer expires
}

func (c *CounterOffer) Error() string { return "the server made an offer of its own" }

// Unwrap returns [cdn.ErrUnsupported].
func (c *CounterOffer) Unwrap() error { return cdn.ErrUnsupported }
