// Package link carries the offers of links between nodes over HTTP: POST of an
// offer to /link/ below a node's signaling URL is answered with the answer.
// There is nothing else to say: how a link goes on is told on the link.
package link

import (
	"bytes"
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

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/signal"
	"github.com/deltacdn/delta/signal/internal/guard"
	"github.com/deltacdn/delta/signal/internal/problem"
	"github.com/deltacdn/delta/signal/internal/remote"
)

// Path is where a node's signaling URL takes offers of links.
const Path = "/link/"

// MediaType is the content type of offers and answers.
const MediaType = "application/vnd.delta-link+json"

// maxBody bounds offers and answers, in bytes.
const maxBody = 32 << 10

// A Handler is an [http.Handler]. Its methods may be called concurrently.
type Handler struct {
	nodes  signal.LinkHandler
	remote *remote.Resolver
	log    *slog.Logger
	limits guard.Limits
}

// New returns a Handler that has h answer. A nil logger is allowed. proxies are the
// networks of reverse proxies whose word on where a request comes from is taken.
func New(h signal.LinkHandler, logger *slog.Logger, proxies ...netip.Prefix) *Handler {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	return &Handler{nodes: h, remote: remote.New(proxies, logger), log: logger}
}

// ServeHTTP answers an offer.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.limits.Serve(w, r, h.serve) }

func (h *Handler) serve(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		problem.New(problem.Method, "Offers of links are posted.").Write(w)
		return
	}
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind != MediaType {
		w.Header().Set("Accept-Post", MediaType)
		problem.New(problem.MediaType, "An offer of a link is of type "+MediaType+".").Write(w)
		return
	}
	body, ok := guard.ReadBody(w, r, maxBody)
	if !ok {
		return
	}
	answer, err := h.nodes.Link(r.Context(), signal.LinkOffer{Body: body, RemoteAddr: h.remote.Node(r)})
	if err != nil {
		h.log.Info("a link is refused", "remote", r.RemoteAddr, "err", err)
		refusal(err).Write(w)
		return
	}
	w.Header().Set("Content-Type", MediaType)
	w.Header().Set("Content-Length", strconv.Itoa(len(answer)))
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(answer) // a node that is gone needs no answer
}

// refusal returns the problem that err is. Its sentence is for the operator of the
// other node, in whose log it stands.
func refusal(err error) problem.Details {
	d := problem.Of(err)
	if errors.Is(err, cdn.ErrUnauthorized) {
		d.Detail = "This node does not trust yours: do both have the same secret, and the right time?"
	}
	return d
}

// A Client is a [signal.LinkDialer]. The zero value is ready; its methods may be
// called concurrently.
type Client struct {
	// HTTP makes the requests. If nil, [http.DefaultClient].
	HTTP *http.Client
}

// DialLink posts the offer below base. Redirects are followed with it.
func (c *Client) DialLink(ctx context.Context, base string, offer []byte) ([]byte, error) {
	fail := func(reason, err error) ([]byte, error) {
		return nil, &cdn.Error{Op: "link", Node: cdn.NodeID(base), Err: fmt.Errorf("%w: %w", reason, err)}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimRight(base, "/")+Path, bytes.NewReader(offer))
	if err != nil {
		return fail(cdn.ErrInvalid, err)
	}
	req.Header.Set("Content-Type", MediaType)
	client := c.HTTP
	if client == nil {
		client = http.DefaultClient
	}
	resp, err := client.Do(req)
	switch {
	case errors.Is(err, context.Canceled):
		return nil, err
	case errors.Is(err, context.DeadlineExceeded):
		return fail(cdn.ErrTimeout, err)
	case err != nil:
		return fail(cdn.ErrPeerLost, err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, refused(base, resp)
	}
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	if err != nil || len(answer) > maxBody {
		return fail(cdn.ErrPeerLost, errors.New("answer too long or broken off"))
	}
	return answer, nil
}

// refused returns the error that a response stands for. A server that is not a
// node of ours does not know the path, the method or the type.
func refused(base string, resp *http.Response) error {
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	switch resp.StatusCode {
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusUnsupportedMediaType, http.StatusBadRequest:
		if kind != problem.ContentType || resp.StatusCode != http.StatusBadRequest {
			return &cdn.Error{Op: "link", Node: cdn.NodeID(base), Err: fmt.Errorf("%w: no links there: %s", cdn.ErrUnsupported, resp.Status)}
		}
	}
	return problem.Read("link", "", resp, cdn.ErrInvalid)
}
