// Package whip is WHIP (RFC 9725): publishing over HTTP. [New] makes a server
// of any [signal.Handler], such as an origin; [Client] publishes to any server.
//
// Refusals are problem details (RFC 9457); docs/problems.md has their codes.
package whip

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/signal"
	"github.com/deltacdn/delta/signal/internal/client"
	"github.com/deltacdn/delta/signal/internal/resource"
)

// Config sets up a [Handler].
type Config struct {
	// Prefix is the path that the handler is mounted at. The rest of a request's path is
	// the stream. If empty, "/whip/".
	Prefix string
	// MaxBody bounds a request's body, in bytes. If zero, 256 KiB.
	MaxBody int64
	// ICEServers are values of Link headers that name STUN and TURN
	// servers (RFC 9725 section 4.6). If empty, none.
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
		c.Prefix = "/whip/"
	}
	s, err := resource.New(h, resource.Config{
		Prefix: c.Prefix, MaxBody: c.MaxBody, Links: c.ICEServers, Servers: c.ICEServersFor, Origin: c.AllowOrigin, Proxies: c.Proxies, Logger: c.Logger,
	})
	if err != nil {
		return nil, err
	}
	return &Handler{s}, nil
}

// ServeHTTP answers one request. Bodies and answers have deadlines on any server;
// [signal.ServerDefaults] has those that only the server can keep.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.server.ServeHTTP(w, r) }

// Close ends the sessions and waits for them. Requests for new ones are refused from then
// on.
func (h *Handler) Close() error { return h.server.Close() }

// A Client publishes to a WHIP server. It is a [signal.Dialer]. The zero value
// is ready; its methods may be called concurrently.
type Client struct {
	// HTTP makes the requests. If nil, [http.DefaultClient].
	HTTP *http.Client
}

// Dial posts o.SDP to url, the endpoint of the stream.
func (c *Client) Dial(ctx context.Context, url string, o signal.Offer) (signal.RemoteSession, error) {
	if o.SDP == "" {
		return nil, &cdn.Error{Op: "whip", Stream: o.Stream, Err: fmt.Errorf("%w: no offer", cdn.ErrInvalid)}
	}
	target, err := client.WithQuery(url, "publication", o.Publication)
	if err != nil {
		return nil, &cdn.Error{Op: "whip", Stream: o.Stream, Err: err}
	}
	return (&client.Client{HTTP: c.HTTP, Op: "whip", Conflict: cdn.ErrAlreadyPublishing}).Dial(ctx, target, o, nil)
}
