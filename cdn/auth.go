package cdn

import (
	"context"
	"fmt"
	"net/url"
	"time"
)

// An Action is what a client or another node asks leave for.
type Action int

// The actions.
const (
	ActionPublish Action = iota + 1 // send a stream to an origin
	ActionPlay                      // receive a stream as a viewer
	ActionFetch                     // receive a stream as another node
)

// ParseAction returns the action of that name, as String gives it, or an error wrapping
// [ErrInvalid].
func ParseAction(name string) (Action, error) {
	for a := ActionPublish; a <= ActionFetch; a++ {
		if a.String() == name {
			return a, nil
		}
	}
	return 0, fmt.Errorf("%w: action %.20q is none of publish, play and fetch", ErrInvalid, name)
}

func (a Action) String() string {
	switch a {
	case ActionPublish:
		return "publish"
	case ActionPlay:
		return "play"
	case ActionFetch:
		return "fetch"
	}
	return "unknown"
}

// AuthRequest is what an [Authorizer] decides on.
type AuthRequest struct {
	Action     Action
	Stream     StreamID
	Credential string // the bearer token; "" if there was none, or it was the proof of the nodes' secret
	RemoteAddr string // host:port of the signaling client, if known
	// Query has the parameters of the URL that a client asked, such as those of a signed
	// URL. Nil where its signaling has none. It must not be changed.
	Query url.Values
	Node  NodeID // the asking node, for ActionFetch, as it calls itself
	// Trusted says that the requester has proved to be a node, by what the node's
	// [Trust] asks for: over a link, or without one by a proof of the secret. It is
	// false for clients, and where Trust is zero, since nothing proves anything then.
	// A requester that is not trusted and shows no credential is refused, before the
	// Authorizer is asked, wherever Trust is set.
	Trusted bool
}

// A Grant is an Authorizer's consent.
type Grant struct {
	// Subject is who was recognised. A publisher may take over the stream of
	// one with the same Subject. Empty: anybody.
	Subject string
	// ID names the grant, so that it can be revoked: the "jti" of a token, say. It is
	// shown to operators and must be no secret. Empty: it has no name.
	ID string
	// Tag is a word for accounting, such as a customer's name. It is shown to operators,
	// and in webhooks.
	Tag string
	// Expires is when the session ends by itself, with [ErrExpired]. Zero: never.
	Expires time.Time
	// MaxBitrate bounds what the session sends or receives, in payload bits a second.
	// A publisher is told so in the answer and by feedback, and is ended with
	// [ErrOverLimit] if it keeps sending more. A viewer gets no layer of more, unless
	// there is none of less. Zero: no bound but the node's.
	MaxBitrate int
	// Revoked, if not nil, ends the session when it is done, with its cause, which
	// should wrap [ErrUnauthorized] or [ErrForbidden]. Sessions may share one.
	Revoked context.Context
}

// ErrUnknownCredential is what an [Authorizer] refuses with if the request shows no
// credential of the kind that it knows, so that another one may be asked. It wraps
// [ErrUnauthorized].
var ErrUnknownCredential = fmt.Errorf("no credential of a known kind: %w", ErrUnauthorized)

// An Authorizer decides who may publish, play and fetch. Authorize returns an
// error wrapping [ErrUnauthorized] or [ErrForbidden] to refuse, and one wrapping
// [ErrUnavailable] if it cannot decide now; any other error refuses too and counts as
// a failure of the Authorizer. It may block;
// ctx bounds it. It is called concurrently.
type Authorizer interface {
	Authorize(ctx context.Context, r AuthRequest) (Grant, error)
}

// A Guard is an [Authorizer] that may leave it to the node to refuse fetches of those that
// have not proved to be nodes.
type Guard interface {
	// Guards reports whether the Authorizer decides who may fetch without a link. Every
	// Authorizer that is no Guard does.
	Guards() bool
}

// AuthorizerFunc is an [Authorizer] made of a function.
type AuthorizerFunc func(ctx context.Context, r AuthRequest) (Grant, error)

// Authorize calls f.
func (f AuthorizerFunc) Authorize(ctx context.Context, r AuthRequest) (Grant, error) {
	return f(ctx, r)
}
