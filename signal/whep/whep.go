// Package whep is WHEP (draft-ietf-wish-whep): playing over HTTP. [New] makes a
// server of any [signal.Handler], such as an edge; [Client] plays from any
// server.
//
// A stream that nobody publishes is answered with "409 Conflict" and Retry-After.
// Refusals are problem details (RFC 9457); docs/problems.md has their codes.
//
// Beyond the draft, ?layer=NAME asks for a simulcast layer. By ?strategy=, ?first_bitrate=,
// ?max_bitrate= and ?max_height= a viewer says how its video is to be fitted to its path
// ([signal.Adapt]); invalid values are refused with "400 Bad Request". A node that posts
// nothing gets the server's offer, if the handler can make one ([signal.Offerer]), and
// answers it by PATCH.
//
// # Events
//
// A session's 201 links to its events by the draft's core extension
// urn:ietf:params:whep:ext:core:server-sent-events: "active", "inactive",
// "viewercount" and "reconnect", if it is a [signal.StatusSession]. A second link,
// urn:deltacdn:whep:ext:events, is to the same URL and has events of ours:
//
//	ended       {"code", "detail"}             the session is over, and why; as in problem details
//	layer       {"layer", "paused"}            the simulcast layer that is sent; whether the video pauses
//	adaptation  {"layer", "height", "bitrate", "mode", "paused", "limited", "reason"}
//	                                           a step by which the video was fitted to the viewer's path
//	codec       {"kind", "stream", "offered"}  a track that is not sent, since nothing offered decodes it
//
// docs/whep.md describes their members. A client that reads late is told the newest
// adaptation, not those in between.
//
// POST of a JSON array of names makes an event stream, of which a session may
// have four; GET of its Location is the stream, DELETE ends it. It also ends with
// the session, with [Handler.Close] and with [http.Server.Shutdown]. GET of the
// session's own URL as text/event-stream, as players of older releases do,
// redirects to such a stream; that will go.
package whep

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/signal"
	"github.com/deltacdn/delta/signal/internal/client"
	"github.com/deltacdn/delta/signal/internal/resource"
)

// Config sets up a [Handler].
type Config struct {
	// Prefix is the path that the handler is mounted at. The rest of a request's path is
	// the stream. If empty, "/whep/".
	Prefix string
	// MaxBody bounds a request's body, in bytes. If zero, 256 KiB.
	MaxBody int64
	// ICEServers are values of Link headers that name STUN and TURN
	// servers. If empty, none.
	ICEServers []string
	// ICEServersFor returns more servers for one client, such as a TURN server with
	// credentials that expire. If nil, there are none.
	ICEServersFor signal.ICEServers
	// AllowOrigin is the web origin whose pages may use the handler (CORS). If empty, all.
	AllowOrigin string
	// Proxies are the networks of the reverse proxies in front of the handler. The client's
	// address of a request from one of them is taken from Forwarded (RFC 7239) or
	// X-Forwarded-For; see [cdn.Limits] for its use. If empty, such headers are not
	// trusted.
	Proxies []netip.Prefix
	// Logger gets failures whose text clients are not told. If nil, they are not logged.
	Logger *slog.Logger
}

// A Handler is an [http.Handler]. Its methods may be called concurrently.
type Handler struct{ server *resource.Server }

// New returns a Handler that asks h for sessions.
func New(h signal.Handler, c Config) (*Handler, error) {
	if c.Prefix == "" {
		c.Prefix = "/whep/"
	}
	s, err := resource.New(h, resource.Config{
		Prefix: c.Prefix, MaxBody: c.MaxBody, Playback: true, Links: c.ICEServers, Servers: c.ICEServersFor, Origin: c.AllowOrigin, Proxies: c.Proxies, Logger: c.Logger,
	})
	if err != nil {
		return nil, err
	}
	return &Handler{s}, nil
}

// ServeHTTP answers one request. Bodies and answers have deadlines on any server;
// [signal.ServerDefaults] has those that only the server can keep.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.server.ServeHTTP(w, r) }

// Close ends the sessions and their event streams, and waits for the sessions. Requests for
// new ones are refused from then on.
func (h *Handler) Close() error { return h.server.Close() }

// A Client plays from a WHEP server, or fetches from another node. It is a [signal.Dialer],
// whose error is a [*signal.CounterOffer] where the server answers an offer with one of its
// own. The zero value is ready; its methods may be called concurrently.
type Client struct {
	// HTTP makes the requests. If nil, [http.DefaultClient].
	HTTP *http.Client
}

// Dial posts o.SDP to target, the endpoint of the stream. Without o.SDP it requests the
// server's offer.
func (c *Client) Dial(ctx context.Context, target string, o signal.Offer) (signal.RemoteSession, error) {
	query := resource.AdaptQuery(o.Adapt)
	query["layer"] = o.Layer
	for name, value := range query {
		var err error
		if target, err = client.WithQuery(target, name, value); err != nil {
			return nil, &cdn.Error{Op: "whep", Stream: o.Stream, Err: err}
		}
	}
	header := http.Header{}
	if o.Node != "" {
		header.Set(resource.HeaderNode, string(o.Node))
	}
	if len(o.Path) > 0 {
		path := make([]string, len(o.Path))
		for i, id := range o.Path {
			path[i] = string(id)
		}
		header.Set(resource.HeaderPath, strings.Join(path, ", "))
	}
	return (&client.Client{HTTP: c.HTTP, Op: "whep", Conflict: cdn.ErrNotFound}).Dial(ctx, target, o, header)
}
