package resource

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/signal"
	"github.com/deltacdn/delta/signal/internal/problem"
)

// serveSession answers requests to a session's own URL. To know it is to be
// allowed to change the session, so no token is asked for.
func (s *Server) serveSession(w http.ResponseWriter, r *http.Request, stream cdn.StreamID, id string) {
	methods := "PATCH, DELETE, OPTIONS"
	if s.config.Playback {
		methods = "GET, HEAD, " + methods
	}
	if r.Method == http.MethodOptions {
		w.Header().Set("Accept-Patch", TypeFragment)
		s.options(w, methods)
		return
	}
	path := s.config.Prefix + string(stream) + separator + id
	session, gone := s.table.find(path)
	if session == nil {
		if gone == nil {
			problem.New(http.StatusNotFound, "there is no such session").Write(w)
			return
		}
		d := problem.Of(gone)
		d.Status, d.Title = http.StatusGone, http.StatusText(http.StatusGone)
		d.Write(w)
		return
	}
	switch {
	case r.Method == http.MethodPatch:
		s.patch(w, r, session)
	case r.Method == http.MethodDelete:
		if !s.table.drop(path) {
			problem.New(http.StatusNotFound, "there is no such session").Write(w)
			return
		}
		_ = session.Close() // it has no way to fail that the client could mend
		w.WriteHeader(http.StatusOK)
	case s.config.Playback && (r.Method == http.MethodGet || r.Method == http.MethodHead):
		s.events(w, r, session)
	default:
		notAllowed(w, methods)
	}
}

// patch takes candidates, new ICE credentials, or the answer to our offer.
func (s *Server) patch(w http.ResponseWriter, r *http.Request, session signal.Session) {
	body, ok := s.readBody(w, r)
	if !ok {
		return
	}
	switch kind := mediaType(r); {
	case kind == TypeSDP && s.config.Playback:
		offered, ok := session.(signal.OfferedSession)
		if !ok {
			problem.New(http.StatusUnprocessableEntity, "this session has its answer").Write(w)
			return
		}
		if err := offered.Accept(r.Context(), string(body)); err != nil {
			s.refuse(w, r, err)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	case kind == TypeFragment:
		if s.matches(w, r, session) {
			s.trickle(w, r, session, string(body))
		}
	default:
		w.Header().Set("Accept-Patch", TypeFragment)
		problem.New(http.StatusUnsupportedMediaType, "a fragment is of type "+TypeFragment).Write(w)
	}
}

// matches checks If-Match (RFC 9725 section 4.3.1): a fragment belongs to one
// ICE session, and "*" is for a restart.
func (s *Server) matches(w http.ResponseWriter, r *http.Request, session signal.Session) bool {
	value := r.Header.Get("If-Match")
	if value == "" {
		if s.config.Playback {
			return true // WHEP players in use leave it out
		}
		problem.New(http.StatusPreconditionRequired, "If-Match is wanted").Write(w)
		return false
	}
	current := etag(session)
	for one := range strings.SplitSeq(value, ",") {
		// RFC 9725 quotes the asterisk in its examples, RFC 9110 does not.
		if one = strings.TrimSpace(one); one == "*" || one == `"*"` || one == current {
			return true
		}
	}
	problem.New(http.StatusPreconditionFailed, "the ICE session is another one by now").Write(w)
	return false
}

func (s *Server) trickle(w http.ResponseWriter, r *http.Request, session signal.Session, fragment string) {
	answer, err := session.Patch(r.Context(), fragment)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	if answer == "" {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	w.Header().Set("ETag", etag(session))
	w.Header().Set("Content-Type", TypeFragment)
	w.WriteHeader(http.StatusOK)
	_, _ = io.WriteString(w, answer) // a client that is gone needs no answer
}

// keepAlive is how often an event stream says that it is there.
const keepAlive = 15 * time.Second

// events tells a player, as server-sent events, when its session ends and why.
func (s *Server) events(w http.ResponseWriter, r *http.Request, session signal.Session) {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("ETag", etag(session))
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead {
		return
	}
	out := http.NewResponseController(w)
	_ = out.SetWriteDeadline(time.Time{}) // where the server can, it lasts as long as the session
	tick := time.NewTicker(keepAlive)
	defer tick.Stop()
	message := ": connected\n\n"
	for {
		if _, err := io.WriteString(w, message); err != nil || out.Flush() != nil {
			return
		}
		select {
		case <-session.Done():
			d := problem.Of(session.Err())
			data, _ := json.Marshal(map[string]string{"code": d.Code, "detail": d.Detail}) // strings always can be
			_, _ = fmt.Fprintf(w, "event: ended\ndata: %s\n\n", data)
			_ = out.Flush()
			return
		case <-r.Context().Done():
			return
		case <-tick.C:
			message = ": keep-alive\n\n"
		}
	}
}
