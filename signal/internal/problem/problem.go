// Package problem carries errors over HTTP as problem details (RFC 9457). The
// member "code" names the sentinel of package cdn, so that both sides of a
// connection see the same error; docs/problems.md lists the codes. "detail" is a
// sentence for people. The text of an error is never sent: it may hold
// addresses, or the text of an Authorizer's error.
package problem

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/deltacdn/delta/cdn"
)

// ContentType is that of a problem.
const ContentType = "application/problem+json"

// typePrefix and a code are the type of a problem (RFC 9457 section 3.1.1).
const typePrefix = "urn:deltacdn:problem:"

// defaultRetry is the Retry-After of an error that passes but does not say when.
const defaultRetry = 5 * time.Second

// Details is the body of a problem.
type Details struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
	Code   string `json:"code,omitempty"`

	retry time.Duration
}

// New returns a problem of HTTP itself. The detail may be empty.
func New(k kind, detail string) Details {
	d := Details{Type: "about:blank", Title: http.StatusText(k.status), Status: k.status, Detail: k.sentence, Code: k.code}
	if k.code != "" {
		d.Type = typePrefix + k.code
	}
	if detail != "" {
		d.Detail = detail
	}
	return d
}

// Of returns the problem for err. An error that wraps no sentinel is the problem that
// something failed.
func Of(err error) Details {
	k, sentence := kindOf(err)
	d := New(k, sentence)
	var e *cdn.Error
	if errors.As(err, &e) {
		d.retry = e.RetryAfter
	}
	if d.retry == 0 && (d.Status == http.StatusBadGateway || d.Status == http.StatusServiceUnavailable) {
		d.retry = defaultRetry
	}
	return d
}

// kindOf returns the kind of err and the sentence that it has for its client.
func kindOf(err error) (kind, string) {
	code := cdn.ErrorCode(err)
	for _, r := range reasons {
		if r.code == code {
			return r.kind, sentenceOf(err)
		}
	}
	return internal, ""
}

// sentenceOf returns the outermost sentence for the client, which names the limit that is
// reached, or "" if err has none.
func sentenceOf(err error) string {
	var e *cdn.Error
	for errors.As(err, &e) {
		if e.Detail != "" {
			return e.Detail
		}
		err = e.Err
	}
	var limit *cdn.LimitError
	if errors.As(err, &limit) {
		return "The server accepts no more at the moment: its limit " + limit.Name + " is reached."
	}
	return ""
}

// As returns the problem under another status.
func (d Details) As(status int) Details {
	d.Status, d.Title = status, http.StatusText(status)
	return d
}

// RetryAfter returns the problem with a time after which to try again, unless
// it has one.
func (d Details) RetryAfter(wait time.Duration) Details {
	if d.retry == 0 {
		d.retry = wait
	}
	return d
}

// Write answers with the problem.
func (d Details) Write(w http.ResponseWriter) {
	body, _ := json.Marshal(d) // strings and a number always can be
	h := w.Header()
	h.Set("Content-Type", ContentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	h.Del("ETag")
	if d.retry > 0 {
		h.Set("Retry-After", strconv.Itoa(int((d.retry+time.Second-1)/time.Second)))
	}
	if d.Status == http.StatusUnauthorized && h.Get("WWW-Authenticate") == "" {
		h.Set("WWW-Authenticate", "Bearer")
	}
	w.WriteHeader(d.Status)
	_, _ = w.Write(body) // a client that is gone needs no answer
}

// WriteError answers with the problem that err is.
func WriteError(w http.ResponseWriter, err error) { Of(err).Write(w) }

// maxBody bounds what is read of a problem, in bytes.
const maxBody = 16 << 10

// Read returns the error that a response with an error status stands for. conflict is the
// meaning of "409 Conflict" without a code: WHIP and WHEP use it for different things.
func Read(op string, stream cdn.StreamID, resp *http.Response, conflict error) error {
	e := &cdn.Error{Op: op, Stream: stream, Node: cdn.NodeID(resp.Request.URL.Host)}
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s > 0 {
		e.RetryAfter = time.Duration(min(s, 24*60*60)) * time.Second
	}
	var d Details
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxBody)) // a broken body says as little as none
	_ = json.Unmarshal(body, &d)
	e.Err = sentinel(d.Code, resp.StatusCode, conflict)
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

// sentinel returns the sentinel of package cdn that an answer stands for. An unknown code or
// status counts as its class does (RFC 9110 section 15).
func sentinel(code string, status int, conflict error) error {
	for _, r := range reasons {
		if r.code == code {
			return r.err
		}
	}
	if status == http.StatusConflict {
		return conflict
	}
	for _, r := range reasons {
		if r.status == status {
			return r.err
		}
	}
	switch status {
	case http.StatusMethodNotAllowed, http.StatusNotAcceptable, http.StatusUnsupportedMediaType, http.StatusNotImplemented:
		return cdn.ErrUnsupported
	case http.StatusTooManyRequests:
		return cdn.ErrOverLimit
	}
	if status < 500 {
		return cdn.ErrInvalid
	}
	return cdn.ErrPeerLost
}
