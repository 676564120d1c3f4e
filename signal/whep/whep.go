// Package whep is WHEP (draft-ietf-wish-whep): playing over HTTP. [New] makes a
// server of any [signal.Handler], such as an edge; [Client] plays from any
// server.
//
// Beyond the draft's client offer, a client that posts nothing gets the
// server's offer, if the handler can make one ([signal.Offerer]), and answers
// it by PATCH; ?layer=NAME asks for a simulcast layer; and GET of the session's
// URL is an event stream that tells when the session ends, and why.
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
	// Prefix is the path that the handler is mounted at; what follows it is
	// the stream. If empty, "/whep/".
	Prefix string
	// MaxBody bounds a request's body, in bytes. If zero, 256 KiB.
	MaxBody int64
	// ICEServers are values of Link headers that tell clients of STUN and TURN
	// servers. If empty, none.
	ICEServers []string
	// AllowOrigin is which web pages may use the handler (CORS). If empty, all.
	AllowOrigin string
	// Proxies are the networks of the reverse proxies in front of the handler. Of
	// a request from one of them the client's address is the one that it tells, in
	// Forwarded (RFC 7239) or X-Forwarded-For; see [cdn.Limits] for what it is
	// used for. If empty, there is none, and such headers are not believed.
	Proxies []netip.Prefix
	// Logger gets failures that clients are not told of. If nil, nobody does.
	Logger *slog.Logger
}

// A Handler is an [http.Handler]. Its methods may be called concurrently.
type Handler struct{ *resource.Server }

// New returns a Handler that asks h for sessions.
func New(h signal.Handler, c Config) (*Handler, error) {
	if c.Prefix == "" {
		c.Prefix = "/whep/"
	}
	s, err := resource.New(h, resource.Config{
		Prefix: c.Prefix, MaxBody: c.MaxBody, Playback: true, Links: c.ICEServers, Origin: c.AllowOrigin, Proxies: c.Proxies, Logger: c.Logger,
	})
	if err != nil {
		return nil, err
	}
	return &Handler{s}, nil
}

// A Client plays from a WHEP server, or fetches from another node. It is a
// [signal.Dialer]. The zero value is ready; its methods may be called
// concurrently.
type Client struct {
	// HTTP makes the requests. If nil, [http.DefaultClient].
	HTTP *http.Client
}

// Dial posts o.SDP to target, the endpoint of the stream; without o.SDP it asks
// for the server's offer.
func (c *Client) Dial(ctx context.Context, target string, o signal.Offer) (signal.RemoteSession, error) {
	target, err := client.WithQuery(target, "layer", o.Layer)
	if err != nil {
		return nil, &cdn.Error{Op: "whep", Stream: o.Stream, Err: err}
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
	return (&client.Client{HTTP: c.HTTP, Op: "whep"}).Dial(ctx, target, o, header)
}
