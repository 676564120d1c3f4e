// Package resource is the HTTP server that WHIP (RFC 9725) and WHEP
// (draft-ietf-wish-whep) have in common: an endpoint that makes a session of an
// offer, and a resource for each session.
package resource

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/signal"
	"github.com/deltacdn/delta/signal/internal/problem"
	"github.com/deltacdn/delta/signal/internal/remote"
)

// The media types of bodies.
const (
	TypeSDP      = "application/sdp"
	TypeFragment = "application/trickle-ice-sdpfrag"
)

// Config sets up a Server. Prefix has to be set; the rest has defaults.
type Config struct {
	Prefix  string // that the handler is mounted at
	MaxBody int64  // bytes of a request's body; 0: 256 KiB
	// Playback: WHEP. Layers, server offers and event streams are there, and a
	// PATCH need not say If-Match.
	Playback bool
	Links    []string       // values of Link headers
	Origin   string         // for Access-Control-Allow-Origin; "": "*"
	Proxies  []netip.Prefix // whose word on where a request comes from is taken
	Logger   *slog.Logger
}

// A Server is an http.Handler. Its methods may be called concurrently.
type Server struct {
	config  Config
	handler signal.Handler
	remote  *remote.Resolver
	table   table
}

// New returns a server that asks h for sessions.
func New(h signal.Handler, c Config) (*Server, error) {
	if h == nil {
		return nil, &cdn.Error{Op: "new handler", Err: fmt.Errorf("%w: nothing to ask for sessions", cdn.ErrInvalid)}
	}
	if c.Prefix = "/" + strings.Trim(c.Prefix, "/"); c.Prefix != "/" {
		c.Prefix += "/"
	}
	if c.MaxBody <= 0 {
		c.MaxBody = 256 << 10
	}
	if c.Origin == "" {
		c.Origin = "*"
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return &Server{config: c, handler: h, remote: remote.New(c.Proxies, c.Logger), table: newTable()}, nil
}

// Close ends the sessions and waits for them.
func (s *Server) Close() error { return s.table.close() }

// separator stands between the stream and the session in a path.
const separator = "/-/"

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.allowOrigin(w)
	path, ok := strings.CutPrefix(r.URL.Path, s.config.Prefix)
	if !ok {
		problem.New(http.StatusNotFound, "nothing is here").Write(w)
		return
	}
	name, id, isSession := strings.Cut(path, separator)
	stream, err := cdn.ParseStreamID(name)
	if err != nil {
		problem.WriteError(w, err)
		return
	}
	if isSession {
		s.serveSession(w, r, stream, id)
		return
	}
	switch r.Method {
	case http.MethodPost:
		s.create(w, r, stream)
	case http.MethodOptions:
		w.Header().Set("Accept-Post", TypeSDP)
		s.options(w, "POST, OPTIONS")
	default:
		notAllowed(w, "POST, OPTIONS")
	}
}

func (s *Server) allowOrigin(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", s.config.Origin)
	h.Set("Access-Control-Expose-Headers", "Location, ETag, Link, Server-Timing, Accept-Patch, Retry-After, WWW-Authenticate")
}

func (s *Server) options(w http.ResponseWriter, methods string) {
	h := w.Header()
	h.Set("Access-Control-Allow-Methods", methods)
	h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, If-Match, Accept, Last-Event-ID")
	h.Set("Access-Control-Max-Age", "86400")
	s.addLinks(h)
	w.WriteHeader(http.StatusNoContent)
}

func (s *Server) addLinks(h http.Header) {
	for _, link := range s.config.Links {
		h.Add("Link", link)
	}
}

func notAllowed(w http.ResponseWriter, methods string) {
	w.Header().Set("Allow", methods)
	problem.New(http.StatusMethodNotAllowed, "this answers "+methods).Write(w)
}

// create makes a session of an offer: RFC 9725 section 4.2.
func (s *Server) create(w http.ResponseWriter, r *http.Request, stream cdn.StreamID) {
	begun := time.Now()
	offer, ok := s.readOffer(w, r, stream)
	if !ok {
		return
	}
	session, err := s.start(r.Context(), offer)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	location, ok := s.table.add(s.config.Prefix+string(stream)+separator, session)
	if !ok || r.Context().Err() != nil {
		// The server closes, or the client has gone: nobody would end it.
		s.table.drop(location)
		_ = session.Close()
		problem.WriteError(w, cdn.ErrClosed)
		return
	}
	h := w.Header()
	h.Set("Content-Type", TypeSDP)
	h.Set("Location", location)
	h.Set("ETag", etag(session))
	h.Set("Accept-Patch", TypeFragment)
	h.Set("Server-Timing", "offer;dur="+strconv.FormatFloat(float64(time.Since(begun).Microseconds())/1000, 'f', 3, 64))
	s.addLinks(h)
	w.WriteHeader(http.StatusCreated)
	_, _ = io.WriteString(w, session.SDP()) // a client that went now is missed by its session
}

func (s *Server) start(ctx context.Context, o signal.Offer) (signal.Session, error) {
	if o.SDP != "" {
		return s.handler.Offer(ctx, o)
	}
	inviter, ok := s.handler.(signal.Offerer)
	if !ok || !s.config.Playback {
		return nil, &cdn.Error{Op: "offer", Stream: o.Stream, Err: errors.Join(cdn.ErrInvalid, errors.New("an SDP offer is wanted"))}
	}
	return inviter.Invite(ctx, o)
}

// readOffer reads the request's offer, or answers why it is none.
func (s *Server) readOffer(w http.ResponseWriter, r *http.Request, stream cdn.StreamID) (o signal.Offer, ok bool) {
	credential, ok := bearer(r)
	if !ok {
		problem.New(http.StatusUnauthorized, "the Authorization header is no bearer token").Write(w)
		return o, false
	}
	body, ok := s.readBody(w, r)
	if !ok {
		return o, false
	}
	if len(body) > 0 && mediaType(r) != TypeSDP {
		problem.New(http.StatusUnsupportedMediaType, "an offer is of type "+TypeSDP).Write(w)
		return o, false
	}
	o = signal.Offer{Stream: stream, SDP: string(body), Credential: credential, RemoteAddr: s.remote.Client(r)}
	if o.SDP == "" { // a node, perhaps, to which it matters whether it is on this machine
		o.RemoteAddr = s.remote.Node(r)
	}
	if !s.config.Playback {
		o.Publication = r.URL.Query().Get("publication")
	} else {
		o.Layer = r.URL.Query().Get("layer")
		o.Node = cdn.NodeID(r.Header.Get(HeaderNode))
		for id := range strings.SplitSeq(r.Header.Get(HeaderPath), ",") {
			if id = strings.TrimSpace(id); id != "" {
				o.Path = append(o.Path, cdn.NodeID(id))
			}
		}
	}
	return o, true
}

// The headers by which a node says who it is and how its wish came here.
const (
	HeaderNode = "Delta-Node"
	HeaderPath = "Delta-Path"
)

func (s *Server) readBody(w http.ResponseWriter, r *http.Request) ([]byte, bool) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, s.config.MaxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		problem.New(http.StatusRequestEntityTooLarge, "at most "+strconv.FormatInt(s.config.MaxBody, 10)+" bytes are taken").Write(w)
		return nil, false
	case err != nil:
		problem.New(http.StatusBadRequest, "the body could not be read").Write(w)
		return nil, false
	}
	return body, true
}

func mediaType(r *http.Request) string {
	t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		return ""
	}
	return t
}

// bearer returns the token of the Authorization header (RFC 6750 section 2.1),
// "" if there is none; false if there is something else.
func bearer(r *http.Request) (string, bool) {
	value := r.Header.Get("Authorization")
	if value == "" {
		return "", true
	}
	scheme, token, ok := strings.Cut(value, " ")
	token = strings.TrimSpace(token)
	return token, ok && strings.EqualFold(scheme, "Bearer") && token != ""
}

// refuse answers with err, and logs what the answer does not say.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, err error) {
	path, _, _ := strings.Cut(r.URL.Path, separator) // what follows is a secret
	switch d := problem.Of(err); {
	case r.Context().Err() != nil:
	case d.Code == "":
		s.config.Logger.Error("request failed", "method", r.Method, "path", path, "err", err)
	case d.Detail != err.Error():
		s.config.Logger.Info("request refused", "method", r.Method, "path", path, "err", err)
	}
	problem.WriteError(w, err)
}

// etag names the session's present ICE session (RFC 9725 section 4.3.1).
func etag(s signal.Session) string {
	for line := range strings.SplitSeq(s.SDP(), "\n") {
		if ufrag, ok := strings.CutPrefix(strings.TrimSpace(line), "a=ice-ufrag:"); ok {
			return strconv.Quote(ufrag)
		}
	}
	return `"0"`
}
