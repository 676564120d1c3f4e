package resource

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/deltacdn/delta/signal"
	"github.com/deltacdn/delta/signal/internal/guard"
	"github.com/deltacdn/delta/signal/internal/problem"
)

// A player is notified of its session by server-sent events, as WHEP's core extensions
// describe (webrtc-http-egress-events.md in
// https://github.com/wish-wg/webrtc-http-egress-protocol): the 201 has a Link to
// the session's events; POST of the wanted names there makes an event stream; GET
// of its URL is the stream, and DELETE ends it.

// The extensions and their events.
const (
	relEvents    = "urn:ietf:params:whep:ext:core:server-sent-events"
	RelOwnEvents = "urn:deltacdn:whep:ext:events"
)

// The names of events.
const (
	eventActive      = "active"
	eventInactive    = "inactive"
	eventViewerCount = "viewercount"
	eventReconnect   = "reconnect"
	EventEnded       = "ended" // Delta's own, as are those below
	eventLayer       = "layer"
	eventAdaptation  = "adaptation"
	eventCodec       = "codec"
)

var (
	coreEvents = []string{eventActive, eventInactive, eventViewerCount, eventReconnect}
	// ownEvents need a [signal.StatusSession], except for the first.
	ownEvents = []string{EventEnded, eventLayer, eventAdaptation, eventCodec}
)

// announced returns the events that a session supports.
func announced(session signal.Session) (core, own []string) {
	if _, ok := session.(signal.StatusSession); ok {
		return coreEvents, ownEvents
	}
	return nil, ownEvents[:1]
}

const eventsPath = "/events"

// addEventLinks announces a session's events. Both extensions have one URL, so
// that a player that knows both needs but one stream.
func addEventLinks(h http.Header, location string, session signal.Session) {
	core, own := announced(session)
	for _, l := range []struct {
		rel    string
		events []string
	}{{relEvents, core}, {RelOwnEvents, own}} {
		if len(l.events) > 0 {
			h.Add("Link", "<"+location+eventsPath+`>; rel="`+l.rel+`"; events="`+strings.Join(l.events, ",")+`"`)
		}
	}
}

// oldStream names the stream of players that listen at the session's own URL, as
// those of 0.x did. It need not be made.
const oldStream = "all"

// maxSubscriptions bounds the event streams of one session.
const maxSubscriptions = 4

// subscriptions are the event streams of one session.
type subscriptions struct {
	mu   sync.Mutex
	all  map[string]*subscription
	last int // number of the newest
}

// add makes a stream of the events named. It returns false where there are too many.
func (s *subscriptions) add(names []string) (id string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.all) >= maxSubscriptions {
		return "", false
	}
	s.last++
	id = strconv.Itoa(s.last)
	s.putLocked(id, names)
	return id, true
}

func (s *subscriptions) putLocked(id string, names []string) *subscription {
	if s.all == nil {
		s.all = make(map[string]*subscription)
	}
	sub := &subscription{names: names}
	s.all[id] = sub
	return sub
}

// find returns the stream named, nil if there is none.
func (s *subscriptions) find(id string, session signal.Session) *subscription {
	s.mu.Lock()
	defer s.mu.Unlock()
	sub := s.all[id]
	if sub == nil && id == oldStream && len(s.all) < maxSubscriptions {
		core, own := announced(session)
		names := slices.Concat(core, own)
		sub = s.putLocked(id, slices.DeleteFunc(names, func(n string) bool { return n == eventViewerCount }))
	}
	return sub
}

// remove ends the stream named. It returns false if there is none.
func (s *subscriptions) remove(id string) bool {
	s.mu.Lock()
	sub := s.all[id]
	delete(s.all, id)
	s.mu.Unlock()
	if sub == nil {
		return false
	}
	sub.end()
	return true
}

// serveEvents answers requests below a session: to its events and their streams.
func (s *Server) serveEvents(w http.ResponseWriter, r *http.Request, path, below string) {
	name, id, isStream := strings.Cut(below, "/")
	if "/"+name != eventsPath || !s.config.Playback || isStream && (id == "" || strings.Contains(id, "/")) {
		problem.New(problem.NoResource, "").Write(w)
		return
	}
	methods := "GET, HEAD, POST, OPTIONS"
	if isStream {
		methods = "GET, HEAD, DELETE, OPTIONS"
	}
	if r.Method == http.MethodOptions {
		if !isStream {
			w.Header().Set("Accept-Post", typeJSON)
		}
		s.options(w, methods)
		return
	}
	e := s.find(w, path)
	if e == nil {
		return
	}
	switch get := r.Method == http.MethodGet || r.Method == http.MethodHead; {
	case get && isStream:
		s.listen(w, r, e, id)
	case get:
		w.WriteHeader(http.StatusNoContent)
	case isStream && r.Method == http.MethodDelete:
		if !e.events.remove(id) {
			problem.New(problem.NoStream, "").Write(w)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	case !isStream && r.Method == http.MethodPost:
		s.subscribe(w, r, e, path)
	default:
		notAllowed(w, methods)
	}
}

// maxEventNames bounds the body that names events, in bytes.
const maxEventNames = 4 << 10

// subscribe makes an event stream.
func (s *Server) subscribe(w http.ResponseWriter, r *http.Request, e *entry, path string) {
	body, ok := guard.ReadBody(w, r, maxEventNames)
	if !ok {
		return
	}
	core, own := announced(e.Session)
	known := slices.Concat(core, own)
	names := known // "The POST request MAY contain" a list: without, all
	if len(body) > 0 {
		if mediaType(r) != typeJSON {
			w.Header().Set("Accept-Post", typeJSON)
			problem.New(problem.MediaType, "The names of events are a JSON array.").Write(w)
			return
		}
		names = nil // JSON would be read into known
		if json.Unmarshal(body, &names) != nil {
			problem.New(problem.UnknownEvent, "The body has to be a JSON array of names of events.").As(http.StatusBadRequest).Write(w)
			return
		}
	}
	for _, n := range names {
		if !slices.Contains(known, n) {
			problem.New(problem.UnknownEvent, "The session has the events "+strings.Join(known, ", ")+".").Write(w)
			return
		}
	}
	id, ok := e.events.add(names)
	if !ok {
		problem.New(problem.TooManyStreams, "").Write(w)
		return
	}
	w.Header().Set("Location", path+eventsPath+"/"+id)
	w.Header().Set("Content-Length", "0")
	w.WriteHeader(http.StatusCreated)
}
