package admin

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/deltacdn/delta/cdn"
)

const (
	problemType = "application/problem+json"
	problemURN  = "urn:deltacdn:problem:"
)

// statuses are the HTTP statuses of the errors that operations end with.
var statuses = []struct {
	err    error
	status int
}{
	{cdn.ErrNotFound, http.StatusNotFound},
	{cdn.ErrInvalid, http.StatusBadRequest},
	{cdn.ErrUnauthorized, http.StatusUnauthorized},
	{cdn.ErrForbidden, http.StatusForbidden},
	{cdn.ErrUnsupported, http.StatusNotImplemented},
	{cdn.ErrOverLimit, http.StatusServiceUnavailable},
	{cdn.ErrSuperseded, http.StatusConflict},
	{cdn.ErrTimeout, http.StatusGatewayTimeout},
	{cdn.ErrPeerLost, http.StatusBadGateway},
	{cdn.ErrClosed, http.StatusServiceUnavailable},
}

// refused is a request that is refused before any operation begins.
type refused struct {
	status int
	code   string
	detail string
	retry  time.Duration
}

func (r *refused) Error() string { return r.detail }

// problemOf returns the problem that err is. Of an error without a sentence for
// clients it says the code alone.
func problemOf(err error) Problem {
	var r *refused
	if errors.As(err, &r) {
		return newProblem(r.status, r.code, r.detail)
	}
	for _, s := range statuses {
		if errors.Is(err, s.err) {
			return newProblem(s.status, cdn.ErrorCode(s.err), sentence(err))
		}
	}
	return newProblem(http.StatusInternalServerError, "failed", "")
}

func newProblem(status int, code, detail string) Problem {
	return Problem{Type: problemURN + code, Title: http.StatusText(status), Status: status, Detail: detail, Code: code}
}

// sentence returns what err has for its client, "" if nothing.
func sentence(err error) string {
	var e *cdn.Error
	for errors.As(err, &e) {
		if e.Detail != "" {
			return e.Detail
		}
		err = e.Err
	}
	return ""
}

func writeProblem(w http.ResponseWriter, err error) {
	p := problemOf(err)
	var r *refused
	if errors.As(err, &r) && r.retry > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int((r.retry+time.Second-1)/time.Second)))
	}
	if p.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	write(w, p.Status, problemType, p)
}

func write(w http.ResponseWriter, status int, contentType string, body any) {
	b, err := json.Marshal(body)
	if err != nil {
		status, b = http.StatusInternalServerError, []byte("{}")
	}
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(status)
	_, _ = w.Write(b) // a client that is gone needs no answer
}

// failed is an error with a sentence for the client.
func failed(op string, reason error, detail string) error {
	return &cdn.Error{Op: op, Err: reason, Detail: detail}
}
