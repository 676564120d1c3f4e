// Package guard bounds how long one HTTP request may occupy a server: its body has to
// arrive, and its answer has to be read, in time. A handler can do that on any server,
// whatever the server's own timeouts are.
package guard

import (
	"errors"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/deltacdn/delta/signal/internal/problem"
)

// Limits bounds a request. The zero value has the defaults.
type Limits struct {
	// Body is the time within which a body has to arrive. If zero, 10 s.
	Body time.Duration
	// Answer is the time within which the client has to read an answer, or a part of one
	// that is sent in parts. If zero, 10 s.
	Answer time.Duration
}

func (l Limits) body() time.Duration {
	if l.Body > 0 {
		return l.Body
	}
	return 10 * time.Second
}

func (l Limits) answer() time.Duration {
	if l.Answer > 0 {
		return l.Answer
	}
	return 10 * time.Second
}

// Serve lets h answer a request within the limits. Where the server keeps idle connections
// for ever, with no IdleTimeout and no ReadTimeout, the connection is closed after the
// answer: only the server could bound its wait for the next request.
func (l Limits) Serve(w http.ResponseWriter, r *http.Request, h func(http.ResponseWriter, *http.Request)) {
	server, _ := r.Context().Value(http.ServerContextKey).(*http.Server)
	out := &writer{ResponseWriter: w, control: http.NewResponseController(w), limits: l}
	out.closes = server != nil && idleTimeout(server) <= 0
	if r.Body != nil && r.Body != http.NoBody {
		out.unread = true
		_ = out.control.SetReadDeadline(time.Now().Add(l.body())) // some servers have no deadlines
	}
	h(out, r)
	if server != nil && !out.closes && !out.unread && out.wrote {
		// The deadline is for this answer, and not for the connection's next.
		_ = out.control.Flush()
		if server.WriteTimeout == 0 {
			_ = out.control.SetWriteDeadline(time.Time{})
		}
	}
}

// idleTimeout returns how long a server waits for a connection's next request; zero or
// less: for ever.
func idleTimeout(s *http.Server) time.Duration {
	if s.IdleTimeout != 0 {
		return s.IdleTimeout
	}
	return s.ReadTimeout
}

// writer sets the deadline of an answer when the answer begins.
type writer struct {
	http.ResponseWriter
	control *http.ResponseController
	limits  Limits
	closes  bool // the connection, in any case
	unread  bool // the body is not read: the connection cannot go on without that
	wrote   bool
}

func (w *writer) WriteHeader(status int) {
	if !w.wrote {
		w.wrote = true
		if w.closes || w.unread {
			w.Header().Set("Connection", "close")
		}
		_ = w.control.SetWriteDeadline(time.Now().Add(w.limits.answer()))
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *writer) Write(b []byte) (int, error) {
	if !w.wrote {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap is for [http.ResponseController].
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// ReadBody returns the body of a request, of at most limit bytes. If the body does not
// arrive in time, it answers with the problem and returns false.
func ReadBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, bool) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	var tooLarge *http.MaxBytesError
	switch {
	case err == nil:
		if out, ok := w.(*writer); ok {
			out.unread = false
		}
		// What takes long from now on is not the client's fault.
		_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
		return body, true
	case errors.As(err, &tooLarge):
		problem.New(problem.TooLarge, "The body is too long: at most "+strconv.FormatInt(limit, 10)+" bytes are taken.").Write(w)
	case errors.Is(err, os.ErrDeadlineExceeded):
		problem.New(problem.SlowBody, "").Write(w)
	default:
		problem.New(problem.BrokenBody, "").Write(w)
	}
	return nil, false
}

// A Stream is an answer that is sent in parts, without a limit on the whole.
type Stream struct {
	w       io.Writer
	control *http.ResponseController
	limits  Limits
}

// NewStream returns a stream that is sent as an answer to a request within the
// limits. The answer's header has been written.
func (l Limits) NewStream(w http.ResponseWriter) *Stream {
	return &Stream{w: w, control: http.NewResponseController(w), limits: l}
}

// Send sends a part. It fails if the client does not read it in time.
func (s *Stream) Send(part string) error {
	_ = s.control.SetWriteDeadline(time.Now().Add(s.limits.answer()))
	if _, err := io.WriteString(s.w, part); err != nil {
		return err
	}
	err := s.control.Flush()
	// Over HTTP/2 a deadline that passes resets the stream, though nothing is being
	// sent.
	_ = s.control.SetWriteDeadline(time.Time{})
	return err
}
