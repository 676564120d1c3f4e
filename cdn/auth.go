package cdn

import (
	"context"
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
	Node       NodeID // the asking node, for ActionFetch, as it calls itself
	// Trusted says that the asker has proved to be a node, by what the node's
	// [Trust] asks for: over a link, or without one by a proof of the secret. It is
	// false for clients, and where Trust is zero, since nothing proves anything then.
	// An asker that is not trusted and shows no credential is refused, before the
	// Authorizer is asked, wherever Trust is set.
	Trusted bool
}

// A Grant is an Authorizer's consent.
type Grant struct {
	// Subject is who was recognised. A publisher may take over the stream of
	// one with the same Subject. Empty: anybody.
	Subject string
	// Expires is when the session ends by itself. Zero: never.
	Expires time.Time
}

// An Authorizer decides who may publish, play and fetch. Authorize returns an
// error wrapping [ErrUnauthorized] or [ErrForbidden] to refuse; any other
// error refuses too and counts as a failure of the Authorizer. It may block;
// ctx bounds it. It is called concurrently.
type Authorizer interface {
	Authorize(ctx context.Context, r AuthRequest) (Grant, error)
}

// AuthorizerFunc is an [Authorizer] made of a function.
type AuthorizerFunc func(ctx context.Context, r AuthRequest) (Grant, error)

// Authorize calls f.
func (f AuthorizerFunc) Authorize(ctx context.Context, r AuthRequest) (Grant, error) {
	return f(ctx, r)
}
