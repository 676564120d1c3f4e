package cdn

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
)

// The reasons for which an operation of the CDN fails. Test for them with
// [errors.Is]; errors that reach a caller are usually an [*Error] around one.
// [ErrorCode] and [ErrorFor] carry them through a protocol.
var (
	// ErrNotFound: no node that was asked has the stream.
	ErrNotFound = errors.New("stream not found")
	// ErrAlreadyPublishing: the stream is published and the newcomer may not take it over.
	ErrAlreadyPublishing = errors.New("stream is already being published")
	// ErrNoCommonCodec: nothing that one side can send can be received by the other.
	ErrNoCommonCodec = errors.New("no common codec")
	// ErrUnauthorized: a credential is missing, unknown or expired.
	ErrUnauthorized = errors.New("unauthorized")
	// ErrExpired: the credential was good once, and its time is over, also while the
	// session ran. It wraps [ErrUnauthorized].
	ErrExpired = fmt.Errorf("expired: %w", ErrUnauthorized)
	// ErrForbidden: the credential is good but does not allow this.
	ErrForbidden = errors.New("forbidden")
	// ErrOverLimit: a configured limit is reached; trying again later may succeed.
	ErrOverLimit = errors.New("over limit")
	// ErrDraining: the node is leaving and takes nothing on; another one may. It wraps
	// [ErrOverLimit].
	ErrDraining = fmt.Errorf("the node is leaving: %w", ErrOverLimit)
	// ErrUnavailable: something that the node has to ask does not answer, such as the
	// hook or the key server of its Authorizer. Nothing is said about the client;
	// trying again later may succeed.
	ErrUnavailable = errors.New("temporarily unavailable")
	// ErrInvalid: the request itself is malformed.
	ErrInvalid = errors.New("invalid request")
	// ErrTimeout: something did not happen within its deadline.
	ErrTimeout = errors.New("timed out")
	// ErrClosed: the object was closed. It wraps [net.ErrClosed].
	ErrClosed = fmt.Errorf("closed: %w", net.ErrClosed)
	// ErrLeft: the client of a session said goodbye. It wraps [ErrClosed].
	ErrLeft = fmt.Errorf("the client left: %w", ErrClosed)
	// ErrEnded: the publisher ended the stream.
	ErrEnded = errors.New("stream ended")
	// ErrSuperseded: another input of the same stream took over.
	ErrSuperseded = errors.New("superseded")
	// ErrPeerLost: the other side stopped answering or went away without a word.
	ErrPeerLost = errors.New("peer lost")
	// ErrTooSlow: a viewer could not take the stream, even reduced.
	ErrTooSlow = errors.New("viewer too slow")
	// ErrUpstream: another node refused to give this one a stream, for a reason that
	// is not the client's. The error's text has the reason; it wraps no other
	// sentinel, so that nobody takes it for a refusal of the client.
	ErrUpstream = errors.New("upstream failed")
	// ErrLoop: a fetch came by this node already.
	ErrLoop = errors.New("fetch loop")
	// ErrStale: a publication of a higher epoch is known.
	ErrStale = errors.New("stale epoch")
	// ErrUnsupported: the other side asks for something that this one does not do.
	ErrUnsupported = errors.New("not supported")
)

// Error says which operation failed, on which stream and at which node. It is
// a value for reading: nothing in Delta changes one after it was returned.
type Error struct {
	Op     string   // what was tried, such as "publish" or "fetch"
	Stream StreamID // "" if the failure concerns no stream
	Node   NodeID   // the other node, if the failure is a remote one; "" otherwise
	Err    error

	// RetryAfter says when trying again makes sense. Zero: unknown.
	RetryAfter time.Duration
	// Instead are nodes that may do it, where one refuses since it is full or leaving.
	// The slice must not be changed.
	Instead []Entry
	// Detail is a sentence for the client that was refused, such as "The offer
	// has no section that receives." It is shown to strangers, who see nothing
	// else of an error: it must not hold addresses, secrets or the text of other
	// errors. Empty: they are told the general reason alone.
	Detail string
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	if e.Stream != "" {
		fmt.Fprintf(&b, " %s", e.Stream)
	}
	if e.Node != "" {
		fmt.Fprintf(&b, " at %s", e.Node)
	}
	fmt.Fprintf(&b, ": %v", e.Err)
	return b.String()
}

func (e *Error) Unwrap() error { return e.Err }

// Remote reports whether the failure was told by another node.
func (e *Error) Remote() bool { return e.Node != "" }

// codes are the words for the reasons. Of reasons that wrap one another, the one
// that says more stands first.
var codes = []struct {
	code string
	err  error
}{
	{"upstream", ErrUpstream}, // whatever another node's reason was
	{"not-found", ErrNotFound},
	{"already-publishing", ErrAlreadyPublishing},
	{"no-common-codec", ErrNoCommonCodec},
	{"expired", ErrExpired},
	{"unauthorized", ErrUnauthorized},
	{"forbidden", ErrForbidden},
	{"draining", ErrDraining},
	{"over-limit", ErrOverLimit},
	{"unavailable", ErrUnavailable},
	{"invalid", ErrInvalid},
	{"ended", ErrEnded},
	{"superseded", ErrSuperseded},
	{"too-slow", ErrTooSlow},
	{"loop", ErrLoop},
	{"stale", ErrStale},
	{"unsupported", ErrUnsupported},
	{"peer-lost", ErrPeerLost},
	{"timeout", ErrTimeout},
	{"timeout", context.DeadlineExceeded},
	{"left", ErrLeft},
	{"closed", ErrClosed},
}

// failedCode is the code of an error that says nothing to others.
const failedCode = "failed"

// ErrorCode returns the code of the reason that err wraps, by which a signaling
// protocol can carry it: a word of lower-case letters and hyphens that never
// changes, such as "not-found" for [ErrNotFound]. For nil it is "", and for an
// error that wraps none of the reasons "failed". [ErrorFor] is its inverse.
//
// The rest of an error is for the log: its text may hold what strangers must not
// see. [Error].RetryAfter is worth carrying, too.
func ErrorCode(err error) string {
	if err == nil {
		return ""
	}
	for _, c := range codes {
		if errors.Is(err, c.err) {
			return c.code
		}
	}
	return failedCode
}

// ErrorFor returns the reason that a code of [ErrorCode] stands for, nil for "". A
// code that is not known, and "failed", stand for an error that wraps
// [ErrPeerLost]: the other side could not do it, and does not say why.
func ErrorFor(code string) error {
	if code == "" {
		return nil
	}
	for _, c := range codes {
		if c.code == code {
			return c.err
		}
	}
	return fmt.Errorf("%w: it says %.40q", ErrPeerLost, code)
}
