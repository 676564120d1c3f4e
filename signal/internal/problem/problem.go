// Package problem carries errors over HTTP as problem details (RFC 9457). The
// member "code" names the sentinel of package cdn, so that both sides of a
// connection see the same error.
package problem

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/deltacdn/delta/cdn"
)

// MediaType is the content type of a problem.
const MediaType = "application/problem+json"

// defaultRetry is the Retry-After of an error that passes but does not say when.
const defaultRetry = 5 * time.Second

var table = []struct {
	err    error
	status int
	code   string
}{
	{cdn.ErrUnauthorized, http.StatusUnauthorized, "unauthorized"},
	{cdn.ErrForbidden, http.StatusForbidden, "forbidden"},
	{cdn.ErrNotFound, http.StatusNotFound, "not-found"},
	{cdn.ErrAlreadyPublishing, http.StatusConflict, "already-publishing"},
	{cdn.ErrStale, http.StatusConflict, "stale"},
	{cdn.ErrNoCommonCodec, http.StatusUnprocessableEntity, "no-common-codec"},
	{cdn.ErrOverLimit, http.StatusServiceUnavailable, "over-limit"},
	{cdn.ErrLoop, http.StatusLoopDetected, "loop"},
	{cdn.ErrUnsupported, http.StatusNotImplemented, "unsupported"},
	{cdn.ErrEnded, http.StatusGone, "ended"}, // the first of a status is what it means without a code
	{cdn.ErrTooSlow, http.StatusGone, "too-slow"},
	{cdn.ErrSuperseded, http.StatusGone, "superseded"},
	{cdn.ErrPeerLost, http.StatusBadGateway, "peer-lost"},
	{cdn.ErrUpstream, http.StatusBadGateway, "upstream"},
	{cdn.ErrTimeout, http.StatusGatewayTimeout, "timeout"},
	{cdn.ErrClosed, http.StatusServiceUnavailable, "closed"},
	{cdn.ErrInvalid, http.StatusBadRequest, "invalid"},
	{context.DeadlineExceeded, http.StatusGatewayTimeout, "timeout"},
}

// Details is the body of a problem.
type Details struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
	Code   string `json:"code,omitempty"`
}

// Of returns the problem that err is. What it does not know it does not
// describe, and of what happened between nodes it names the reason alone: such
// an error may hold what is nobody's business, such as addresses.
func Of(err error) Details {
	for _, row := range table {
		if errors.Is(err, row.err) {
			return Details{"about:blank", http.StatusText(row.status), row.status, detail(err, row.err), row.code}
		}
	}
	status := http.StatusInternalServerError
	return Details{Type: "about:blank", Title: http.StatusText(status), Status: status}
}

// detail returns what may be told of err, which is a reason.
func detail(err, reason error) string {
	var e *cdn.Error
	known := errors.As(err, &e)
	for at := e; at != nil; {
		if at.Remote() {
			return short(e, reason)
		}
		var next *cdn.Error
		errors.As(at.Err, &next)
		at = next
	}
	switch {
	case !slices.Contains(between, reason):
		return err.Error()
	case known:
		return short(e, reason)
	}
	return reason.Error()
}

// between are the reasons that another node, or the network, had.
var between = []error{cdn.ErrPeerLost, cdn.ErrUpstream, cdn.ErrTimeout, cdn.ErrClosed, context.DeadlineExceeded}

func short(e *cdn.Error, reason error) string {
	return (&cdn.Error{Op: e.Op, Stream: e.Stream, Err: reason}).Error()
}

// New returns a problem of HTTP itself.
func New(status int, detail string) Details {
	return Details{Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: detail}
}

// Write answers with the problem.
func (d Details) Write(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Type", MediaType)
	h.Del("ETag")
	if d.Status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", "Bearer")
	}
	w.WriteHeader(d.Status)
	_ = json.NewEncoder(w).Encode(d) // a client that is gone needs no answer
}

// WriteError answers with the problem that err is.
func WriteError(w http.ResponseWriter, err error) {
	d := Of(err)
	var e *cdn.Error
	retry := time.Duration(0)
	if errors.As(err, &e) {
		retry = e.RetryAfter
	}
	if retry == 0 && (d.Status == http.StatusBadGateway || d.Status == http.StatusServiceUnavailable) {
		retry = defaultRetry
	}
	if retry > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int((retry+time.Second-1)/time.Second)))
	}
	d.Write(w)
}

// maxBody bounds what is read of a problem.
const maxBody = 16 << 10

// Read returns the error that a response with an error status stands for.
func Read(op string, stream cdn.StreamID, resp *http.Response) error {
	e := &cdn.Error{Op: op, Stream: stream, Node: cdn.NodeID(resp.Request.URL.Host)}
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s > 0 {
		e.RetryAfter = time.Duration(s) * time.Second
	}
	var d Details
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxBody)) // a broken body says as little as none
	_ = json.Unmarshal(body, &d)
	e.Err = sentinel(d.Code, resp.StatusCode)
	if d.Detail != "" {
		e.Err = remote{e.Err, d.Detail}
	} else {
		e.Err = fmt.Errorf("%w (HTTP status %d)", e.Err, resp.StatusCode)
	}
	return e
}

// remote is a sentinel in the words of the other side.
type remote struct {
	error
	detail string
}

func (r remote) Error() string { return r.detail }
func (r remote) Unwrap() error { return r.error }

func sentinel(code string, status int) error {
	for _, row := range table {
		if row.code == code {
			return row.err
		}
	}
	for _, row := range table {
		if row.status == status {
			return row.err
		}
	}
	switch status {
	case http.StatusMethodNotAllowed, http.StatusNotAcceptable, http.StatusUnsupportedMediaType:
		return cdn.ErrUnsupported
	case http.StatusTooManyRequests:
		return cdn.ErrOverLimit
	}
	if status < 500 {
		return cdn.ErrInvalid
	}
	return cdn.ErrPeerLost
}
