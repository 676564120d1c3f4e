// Package resource is the HTTP server that WHIP (RFC 9725) and WHEP
// (draft-ietf-wish-whep) have in common: an endpoint that makes a session of an
// offer, a resource for each session, and below it those of its event streams.
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
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/trouble/seldom"
	"github.com/deltacdn/delta/signal"
	"github.com/deltacdn/delta/signal/internal/guard"
	"github.com/deltacdn/delta/signal/internal/problem"
	"github.com/deltacdn/delta/signal/internal/remote"
)

// The media types of bodies.
const (
	TypeSDP      = "application/sdp"
	TypeFragment = "application/trickle-ice-sdpfrag"
	typeJSON     = "application/json"
	typeEvents   = "text/event-stream"
)

// Config sets up a Server. Prefix has to be set; the rest has defaults.
type Config struct {
	Prefix  string // that the handler is mounted at
	MaxBody int64  // bytes of a request's body; 0: 256 KiB
	// Playback is set for WHEP: it has layers, server offers and event streams, and a PATCH
	// need not have If-Match.
	Playback bool
	Links    []string          // values of Link headers
	Servers  signal.ICEServers // for each client, beside Links; nil: none
	Origin   string            // for Access-Control-Allow-Origin; "": "*"
	Proxies  []netip.Prefix    // reverse proxies, whose forwarded client addresses are trusted
	Logger   *slog.Logger
	Limits   guard.Limits
}

// A Server is an http.Handler. Its methods may be called concurrently.
type Server struct {
	config  Config
	handler signal.Handler
	remote  *remote.Resolver
	table   table
	streams streams
	wrong   seldom.Pacer[string]
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
	return &Server{
		config: c, handler: h, remote: remote.New(c.Proxies, c.Logger), table: newTable(), streams: newStreams(),
	}, nil
}

// Close ends the event streams and the sessions, and waits for the sessions.
func (s *Server) Close() error {
	defer s.streams.close() // first they say why their sessions end, if there is time
	return s.table.close()
}

// separator stands between the stream and the session in a path.
const separator = "/-/"

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.config.Playback {
		s.streams.watch(r)
	}
	s.config.Limits.Serve(w, r, s.serve)
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	s.allowOrigin(w)
	path, ok := strings.CutPrefix(r.URL.Path, s.config.Prefix)
	if !ok {
		problem.New(problem.NoResource, "").Write(w)
		return
	}
	name, id, isSession := strings.Cut(path, separator)
	if !isSession {
		name = strings.TrimSuffix(name, "/") // as people type it
	}
	stream, err := cdn.ParseStreamID(name)
	if err != nil {
		problem.New(problem.BadStream, "").Write(w)
		return
	}
	if isSession {
		s.serveSession(w, r, stream, id)
		return
	}
	keepPrivate(w, r)
	switch r.Method {
	case http.MethodPost:
		s.create(w, r, stream)
	case http.MethodGet, http.MethodHead:
		if s.config.Playback {
			w.Header().Set("Content-Type", TypeSDP) // by which players know that this is WHEP
			w.WriteHeader(http.StatusOK)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	case http.MethodOptions:
		w.Header().Set("Accept-Post", TypeSDP)
		s.addEarlyServerLinks(w.Header(), r, stream)
		s.options(w, "GET, HEAD, POST, OPTIONS")
	default:
		notAllowed(w, "GET, HEAD, POST, OPTIONS")
	}
}

func (s *Server) allowOrigin(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", s.config.Origin)
	h.Set("Access-Control-Expose-Headers", "Location, ETag, Link, Server-Timing, Accept-Patch, Retry-After, WWW-Authenticate")
}

// allowHeaders are the request headers that pages may send.
const allowHeaders = "Authorization, Content-Type, If-Match, Accept, Last-Event-ID, traceparent, tracestate"

// options answers a preflight, or another OPTIONS request.
func (s *Server) options(w http.ResponseWriter, methods string) {
	h := w.Header()
	h.Set("Access-Control-Allow-Methods", methods)
	if h.Get("Access-Control-Allow-Headers") == "" {
		h.Set("Access-Control-Allow-Headers", allowHeaders)
	}
	h.Set("Access-Control-Max-Age", "86400")
	w.WriteHeader(http.StatusNoContent)
}

func notAllowed(w http.ResponseWriter, methods string) {
	w.Header().Set("Allow", methods)
	problem.New(problem.Method, "This address answers "+methods+".").Write(w)
}

// create makes a session from an offer (RFC 9725 section 4.2).
func (s *Server) create(w http.ResponseWriter, r *http.Request, stream cdn.StreamID) {
	begun := time.Now()
	offer, ok := s.readOffer(w, r, stream)
	if !ok {
		return
	}
	session, err := s.start(traced(r), offer)
	if err != nil {
		s.refuseOffer(w, r, offer, err)
		return
	}
	e := &entry{Session: session, endpoint: endpoint(s.config.Prefix+string(stream), r)}
	e.generations.use(ufragOf(offer.SDP))
	location, ok := s.table.add(s.config.Prefix+string(stream)+separator, e)
	if !ok || r.Context().Err() != nil {
		// The server closes, or the client has gone and would not end it.
		s.table.drop(location)
		_ = session.Close()
		problem.WriteError(w, cdn.ErrClosed)
		return
	}
	answer := session.SDP()
	h := w.Header()
	h.Set("Location", location)
	h.Set("ETag", etag(answer))
	h.Set("Accept-Patch", TypeFragment)
	h.Set("Server-Timing", "offer;dur="+strconv.FormatFloat(float64(time.Since(begun).Microseconds())/1000, 'f', 3, 64))
	s.addServerLinks(h, r, offer)
	if s.config.Playback && offer.SDP != "" {
		addEventLinks(h, location, session)
	}
	write(w, http.StatusCreated, TypeSDP, answer)
}

// traced returns the request's context with the client's trace (W3C Trace Context).
func traced(r *http.Request) context.Context {
	state := strings.Join(r.Header.Values("tracestate"), ",")
	return cdn.WithTrace(r.Context(), cdn.ParseTraceContext(r.Header.Get("traceparent"), state))
}

// write answers with a body.
func write(w http.ResponseWriter, status int, kind, body string) {
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body) // its session notices a client that is gone
}

func (s *Server) start(ctx context.Context, o signal.Offer) (signal.Session, error) {
	if o.SDP != "" {
		return s.handler.Offer(ctx, o)
	}
	inviter, ok := s.handler.(signal.Offerer)
	if !ok || !s.config.Playback {
		return nil, &cdn.Error{Op: "offer", Stream: o.Stream, Err: cdn.ErrInvalid, Detail: "The body has to be an SDP offer."}
	}
	return inviter.Invite(ctx, o)
}

// readOffer reads the request's offer, or answers the request with an error.
func (s *Server) readOffer(w http.ResponseWriter, r *http.Request, stream cdn.StreamID) (o signal.Offer, ok bool) {
	body, ok := guard.ReadBody(w, r, s.config.MaxBody)
	if !ok {
		return o, false
	}
	if len(body) > 0 && mediaType(r) != TypeSDP {
		w.Header().Set("Accept-Post", TypeSDP)
		problem.New(problem.MediaType, "An offer is of type "+TypeSDP+".").Write(w)
		return o, false
	}
	o = signal.Offer{Stream: stream, SDP: string(body), Query: r.URL.Query(), RemoteAddr: s.remote.Client(r)}
	var err error
	if o.Credential, err = takeToken(r, o.Query); err != nil {
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_request"`)
		s.refuse(w, r, problem.Of(err), err)
		return o, false
	}
	if o.SDP == "" { // perhaps of a node: whether that is on this machine matters
		o.RemoteAddr = s.remote.Node(r)
	}
	if !s.config.Playback {
		o.Publication = o.Query.Get("publication")
	} else {
		o.Layer = o.Query.Get("layer")
		if o.Adapt, err = readAdapt(o.Query); err != nil {
			s.refuse(w, r, problem.Of(err), err)
			return o, false
		}
		o.Node = cdn.NodeID(r.Header.Get(HeaderNode))
		for id := range strings.SplitSeq(r.Header.Get(HeaderPath), ",") {
			if id = strings.TrimSpace(id); id != "" {
				o.Path = append(o.Path, cdn.NodeID(id))
			}
		}
	}
	return o, true
}

// The headers by which a node names itself and the path of its request.
const (
	HeaderNode = "Delta-Node"
	HeaderPath = "Delta-Path"
)

// mediaType returns the type of the request's body, without its parameters, "" if it has none
// that can be read.
func mediaType(r *http.Request) string {
	t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil && !errors.Is(err, mime.ErrInvalidMediaParameter) {
		return ""
	}
	return t
}

// endpoint returns the path and the query of the request that made a session.
func endpoint(path string, r *http.Request) string {
	if r.URL.RawQuery != "" {
		path += "?" + r.URL.RawQuery
	}
	return path
}

// elsewhere returns the URL to which err redirects the client, "" if it does not: the other
// node has its endpoints at the same paths (RFC 9725 section 4.5).
func elsewhere(path string, r *http.Request, err error) string {
	var to *signal.RedirectError
	if !errors.As(err, &to) {
		return ""
	}
	base, err := url.Parse(to.URL)
	if err != nil || base.Scheme != "https" && base.Scheme != "http" || base.Host == "" {
		return ""
	}
	return strings.TrimRight(base.String(), "/") + endpoint(path, r)
}

// retryPlayer is after how long a player should try again while nobody publishes.
const retryPlayer = 2 * time.Second

// refuseOffer answers an offer with err.
func (s *Server) refuseOffer(w http.ResponseWriter, r *http.Request, o signal.Offer, err error) {
	if target := elsewhere(s.config.Prefix+string(o.Stream), r, err); target != "" {
		s.config.Logger.Info("request redirected", "path", r.URL.Path, "err", err) // which says where to; a query may hold secrets
		w.Header().Set("Location", target)
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(http.StatusTemporaryRedirect)
		return
	}
	d := problem.Of(err)
	// Without a live publisher the answer to a player is "409 Conflict" with Retry-After
	// (draft-ietf-wish-whep, "Playback session set up"). Nodes, which send no offer, have
	// always been told 404.
	noPublisher := errors.Is(err, cdn.ErrNotFound) || errors.Is(err, cdn.ErrEnded)
	if noPublisher && s.config.Playback && o.SDP != "" {
		d = d.As(http.StatusConflict).RetryAfter(retryPlayer)
	}
	challenge(w, d.Status, o.Credential != "")
	s.refuse(w, r, d, err)
}

// refuse answers with the problem d, which err is, and logs err.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, d problem.Details, err error) {
	path, _, _ := strings.Cut(r.URL.Path, separator) // what follows is a secret
	switch {
	case r.Context().Err() != nil:
	case d.Code == "":
		s.config.Logger.Error("request failed", "method", r.Method, "path", path, "err", err)
	default:
		s.config.Logger.Info("request refused", "method", r.Method, "path", path, "code", d.Code, "err", err)
	}
	d.Write(w)
}

// etag returns the entity-tag of the ICE session of our description (RFC 9725 section
// 4.3.1).
func etag(sdp string) string {
	if ufrag := ufragOf(sdp); ufrag != "" {
		return strconv.Quote(ufrag)
	}
	return `"0"`
}

// ufragOf returns the first ICE user name fragment in a description or fragment.
func ufragOf(sdp string) string {
	for line := range strings.SplitSeq(sdp, "\n") {
		if ufrag, ok := strings.CutPrefix(strings.TrimSpace(line), "a=ice-ufrag:"); ok {
			return strings.Clone(ufrag)
		}
	}
	return ""
}
