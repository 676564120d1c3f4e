package problem

import (
	"net/http"

	"github.com/deltacdn/delta/cdn"
)

// A kind is one line of docs/problems.md: what a code means.
type kind struct {
	code     string
	status   int
	sentence string // for people, unless the error has a more precise one
}

// reasons are the problems of the sentinels of package cdn, under their codes. Of several
// with one status, the first is the meaning of that status without a code.
var reasons = []reason{
	because(cdn.ErrUnauthorized, http.StatusUnauthorized, "A valid token is needed for this."),
	because(cdn.ErrExpired, http.StatusUnauthorized, "The token has expired."),
	because(cdn.ErrForbidden, http.StatusForbidden, "The token does not allow this."),
	because(cdn.ErrNotFound, http.StatusNotFound, "Nobody publishes this stream at the moment."),
	because(cdn.ErrAlreadyPublishing, http.StatusConflict, "The stream already has a publisher."),
	because(cdn.ErrStale, http.StatusConflict, "A newer publication of the stream exists elsewhere."),
	because(cdn.ErrNoCommonCodec, http.StatusUnprocessableEntity, "The two sides have no codec in common."),
	because(cdn.ErrUnsupported, http.StatusUnprocessableEntity, "The request asks for something that this server does not support."),
	because(cdn.ErrOverLimit, http.StatusServiceUnavailable, "The server accepts no more sessions at the moment."),
	because(cdn.ErrDraining, http.StatusServiceUnavailable, "The server is draining: it accepts no new sessions."),
	because(cdn.ErrUnavailable, http.StatusServiceUnavailable, "The server cannot check the token at the moment. Try again in a few seconds."),
	because(cdn.ErrLoop, http.StatusLoopDetected, "The stream would come back to the node that asks for it."),
	because(cdn.ErrEnded, http.StatusGone, "The publisher has ended the stream."),
	because(cdn.ErrTooSlow, http.StatusGone, "The connection is too slow for this stream."),
	because(cdn.ErrSuperseded, http.StatusGone, "Another publisher has taken the stream over."),
	because(cdn.ErrPeerLost, http.StatusBadGateway, "The connection to the other side was lost."),
	because(cdn.ErrUpstream, http.StatusBadGateway, "The stream cannot be fetched at the moment."),
	because(cdn.ErrTimeout, http.StatusGatewayTimeout, "Something did not happen in time."),
	because(cdn.ErrLeft, http.StatusGone, "The client has ended the session."),
	because(cdn.ErrClosed, http.StatusServiceUnavailable, "The session was closed."),
	because(cdn.ErrInvalid, http.StatusBadRequest, "The request is malformed."),
}

type reason struct {
	err error
	kind
}

func because(err error, status int, sentence string) reason {
	return reason{err, kind{cdn.ErrorCode(err), status, sentence}}
}

// The problems of HTTP itself.
var (
	NoResource     = kind{"no-resource", http.StatusNotFound, "There is nothing at this address."}
	BadStream      = kind{"bad-stream", http.StatusBadRequest, "The address names no stream. A name consists of elements separated by slashes, each of letters, digits and -._~@+=:."}
	NoSession      = kind{"no-session", http.StatusNotFound, "There is no such session."}
	NoStream       = kind{"no-event-stream", http.StatusNotFound, "There is no such event stream."}
	Method         = kind{"method", http.StatusMethodNotAllowed, "This address does not answer that method."}
	MediaType      = kind{"media-type", http.StatusUnsupportedMediaType, "The body is of a type that is not accepted here."}
	TooLarge       = kind{"too-large", http.StatusRequestEntityTooLarge, "The body is too long."}
	SlowBody       = kind{"slow-body", http.StatusRequestTimeout, "The body took too long to arrive."}
	BrokenBody     = kind{"broken-body", http.StatusBadRequest, "The body could not be read."}
	NoMatch        = kind{"if-match-missing", http.StatusPreconditionRequired, "The request needs an If-Match header."}
	OtherMatch     = kind{"if-match-stale", http.StatusPreconditionFailed, "The ICE session has been restarted since."}
	Answered       = kind{"answered", http.StatusUnprocessableEntity, "This session has its answer already."}
	UnknownEvent   = kind{"unknown-event", http.StatusUnprocessableEntity, "There is no event of that name."}
	TooManyStreams = kind{"too-many-event-streams", http.StatusTooManyRequests, "The session has as many event streams as it is allowed."}
)

// ours are all the problems of HTTP itself.
var ours = []kind{
	NoResource, BadStream, NoSession, NoStream, Method, MediaType, TooLarge, SlowBody, BrokenBody, NoMatch, OtherMatch,
	Answered, UnknownEvent, TooManyStreams,
}

// internal is the problem of an error whose text clients are not told.
var internal = kind{"", http.StatusInternalServerError, ""}
