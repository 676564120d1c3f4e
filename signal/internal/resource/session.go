package resource

import (
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/signal"
	"github.com/deltacdn/delta/signal/internal/guard"
	"github.com/deltacdn/delta/signal/internal/problem"
)

// An entry is a session and what its resource knows about it.
type entry struct {
	signal.Session
	endpoint    string      // path and query of the request that made it; static
	patching    sync.Mutex  // held while a fragment is applied: If-Match and ETag belong together
	generations generations // guarded by patching
	events      subscriptions
}

// generations are the ICE user name fragments that a client has used, the current one last.
type generations []string

// maxGenerations bounds the fragments that are remembered.
const maxGenerations = 8

func (g *generations) use(ufrag string) {
	if ufrag == "" || len(*g) > 0 && (*g)[len(*g)-1] == ufrag {
		return
	}
	if *g = append(*g, ufrag); len(*g) > maxGenerations {
		*g = (*g)[1:]
	}
}

// past reports whether a client has used that one and uses another now.
func (g generations) past(ufrag string) bool {
	n := len(g)
	return n > 0 && g[n-1] != ufrag && slices.Contains(g[:n-1], ufrag)
}

// serveSession answers requests to a session's URL, and to what is below it. Whoever knows
// the URL may change the session, so no token is needed.
func (s *Server) serveSession(w http.ResponseWriter, r *http.Request, stream cdn.StreamID, rest string) {
	id, below, isBelow := strings.Cut(rest, "/")
	path := s.config.Prefix + string(stream) + separator + id
	if isBelow {
		s.serveEvents(w, r, path, below)
		return
	}
	const methods = "GET, HEAD, PATCH, DELETE, OPTIONS"
	if r.Method == http.MethodOptions {
		w.Header().Set("Accept-Patch", TypeFragment)
		s.options(w, methods)
		return
	}
	if r.Method == http.MethodDelete {
		s.table.sayGoodbye(path)
	}
	e := s.find(w, path)
	if e == nil {
		return
	}
	switch r.Method {
	case http.MethodPatch:
		s.patch(w, r, e)
	case http.MethodDelete:
		s.delete(w, path, e)
	case http.MethodGet, http.MethodHead:
		if s.config.Playback && strings.Contains(r.Header.Get("Accept"), typeEvents) {
			// Players of an older release listen here.
			http.Redirect(w, r, path+eventsPath+"/"+oldStream, http.StatusTemporaryRedirect)
			return
		}
		w.WriteHeader(http.StatusNoContent) // RFC 9725 section 4.1: there is no representation
	default:
		notAllowed(w, methods)
	}
}

// find returns the session at path, or answers the request with why there is none.
func (s *Server) find(w http.ResponseWriter, path string) *entry {
	e, gone := s.table.find(path)
	switch {
	case e != nil:
		return e
	case gone != nil:
		problem.Of(gone).As(http.StatusGone).Write(w)
	default:
		problem.New(problem.NoSession, "").Write(w)
	}
	return nil
}

func (s *Server) delete(w http.ResponseWriter, path string, e *entry) {
	if !s.table.drop(path) {
		problem.New(problem.NoSession, "").Write(w)
		return
	}
	_ = e.Close() // the client could do nothing about a failure
	w.Header().Set("Content-Length", "0")
	w.WriteHeader(http.StatusOK)
}

// patch applies candidates, new ICE credentials, or the answer to our offer.
func (s *Server) patch(w http.ResponseWriter, r *http.Request, e *entry) {
	body, ok := guard.ReadBody(w, r, s.config.MaxBody)
	if !ok {
		return
	}
	switch kind := mediaType(r); {
	case kind == TypeSDP && s.config.Playback:
		offered, ok := e.Session.(signal.OfferedSession)
		if !ok {
			problem.New(problem.Answered, "").Write(w)
			return
		}
		if err := offered.Accept(r.Context(), string(body)); err != nil {
			s.refuse(w, r, problem.Of(err), err)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	case kind == TypeFragment:
		s.trickle(w, r, e, string(body))
	default:
		w.Header().Set("Accept-Patch", TypeFragment)
		problem.New(problem.MediaType, "A fragment is of type "+TypeFragment+".").Write(w)
	}
}

// trickle applies a fragment. Concurrent requests are handled one after another.
func (s *Server) trickle(w http.ResponseWriter, r *http.Request, e *entry, fragment string) {
	e.patching.Lock()
	defer e.patching.Unlock()
	conditional := r.Header.Get("If-Match") != ""
	if !s.matches(w, r, e) {
		return
	}
	ufrag := ufragOf(fragment)
	if !conditional && e.generations.past(ufrag) {
		// Candidates of an ICE session that the client has left came late. With an
		// entity-tag they would not have matched (RFC 9725 section 4.3.2).
		w.WriteHeader(http.StatusNoContent)
		return
	}
	answer, err := e.Patch(r.Context(), fragment)
	if err != nil {
		s.refuse(w, r, problem.Of(err), err)
		return
	}
	if answer == "" {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	e.generations.use(ufrag)
	w.Header().Set("ETag", etag(e.SDP()))
	write(w, http.StatusOK, TypeFragment, answer)
}

// matches checks If-Match (RFC 9725 section 4.3.1): a fragment belongs to one
// ICE session, and "*" is for a restart.
func (s *Server) matches(w http.ResponseWriter, r *http.Request, e *entry) bool {
	value := r.Header.Get("If-Match")
	if value == "" {
		if s.config.Playback {
			return true // WHEP players in use leave it out
		}
		problem.New(problem.NoMatch, "").Write(w)
		return false
	}
	current := etag(e.SDP())
	for one := range strings.SplitSeq(value, ",") {
		// RFC 9725 quotes the asterisk in its examples, RFC 9110 does not.
		if one = strings.TrimSpace(one); one == "*" || one == `"*"` || one == current {
			return true
		}
	}
	problem.New(problem.OtherMatch, "").Write(w)
	return false
}
