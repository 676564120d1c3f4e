// Package link carries the offers of links between nodes over HTTP: POST of an
// offer to /link/ below a node's signaling URL is answered with the answer. Everything
// after that goes over the link.
package link

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/trouble"
	"github.com/deltacdn/delta/internal/trouble/seldom"
	"github.com/deltacdn/delta/signal"
	"github.com/deltacdn/delta/signal/internal/guard"
	"github.com/deltacdn/delta/signal/internal/pin"
	"github.com/deltacdn/delta/signal/internal/problem"
	"github.com/deltacdn/delta/signal/internal/remote"
)

// Path is the path below a node's signaling URL that takes offers of links.
const Path = "/link/"

// MediaType is the content type of offers and answers.
const MediaType = "application/vnd.delta-link+json"

// maxBody bounds offers and answers, in bytes.
const maxBody = 32 << 10

// A Handler is an [http.Handler]. Its methods may be called concurrently.
type Handler struct {
	nodes    signal.LinkHandler
	remote   *remote.Resolver
	log      *slog.Logger
	limits   guard.Limits
	refusals seldom.Pacer[[2]string] // by code and client address
}

// New returns a Handler that lets h answer. A nil logger is allowed. proxies are the
// networks of reverse proxies whose forwarded client addresses are trusted.
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
		h.logRefusal(r, err)
		refusal(err).Write(w)
		return
	}
	w.Header().Set("Content-Type", MediaType)
	w.Header().Set("Content-Length", strconv.Itoa(len(answer)))
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(answer) // a node that is gone needs no answer
}

// logRefusal logs that a node is refused a link, at once and then seldom, since it tries
// again and again.
func (h *Handler) logRefusal(r *http.Request, err error) {
	host, _, _ := net.SplitHostPort(r.RemoteAddr)
	if t, due := h.refusals.Wrong(time.Now(), [2]string{host, cdn.ErrorCode(err)}); due {
		h.log.Info("a link is refused", "remote", r.RemoteAddr, "times", t.Times, "err", err)
	}
}

// refusal returns the problem for err. Its sentence is for the operator of the other node,
// which logs it.
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

// DialLink posts the offer below base, at the address of [signal.WithAddr] if ctx has
// one and HTTP's Transport is an [http.Transport]. Redirects are followed with it, as far
// as they leave it a POST (307 and 308).
func (c *Client) DialLink(ctx context.Context, base string, offer []byte) ([]byte, error) {
	fail := func(reason, err error) ([]byte, error) {
		return nil, &cdn.Error{Op: "link", Node: cdn.NodeID(base), Err: fmt.Errorf("%w: %w", reason, err)}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimRight(base, "/")+Path, bytes.NewReader(offer))
	if err != nil {
		return fail(cdn.ErrInvalid, err)
	}
	req.Header.Set("Content-Type", MediaType)
	resp, err := c.client(ctx, req.URL).Do(req)
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
		return nil, c.refused(base, resp)
	}
	if kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); kind != MediaType {
		return fail(cdn.ErrPeerLost, &trouble.ForeignError{Status: resp.Status, Kind: kind})
	}
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	if err != nil || len(answer) > maxBody {
		return fail(cdn.ErrPeerLost, errors.New("answer too long or broken off"))
	}
	return answer, nil
}

// client returns the HTTP client for target. It does not follow a redirect that would make
// the request a GET, which no node answers.
func (c *Client) client(ctx context.Context, target *url.URL) *http.Client {
	once := *pin.Client(ctx, c.HTTP, target)
	follow := once.CheckRedirect
	once.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		switch {
		case req.Method != http.MethodPost:
			return http.ErrUseLastResponse
		case follow != nil:
			return follow(req, via)
		case len(via) >= maxRedirects:
			return &trouble.RedirectError{To: req.URL.Redacted() + ", and again and again"}
		}
		return nil
	}
	return &once
}

// maxRedirects bounds the redirects that are followed.
const maxRedirects = 3

// refused returns the error that a response stands for. A server that is not a
// node of ours does not know the path, the method or the type.
func (c *Client) refused(base string, resp *http.Response) error {
	fail := func(reason, err error) error {
		return &cdn.Error{Op: "link", Node: cdn.NodeID(base), Err: fmt.Errorf("%w: %w", reason, err)}
	}
	if to, err := resp.Location(); err == nil && resp.StatusCode/100 == 3 {
		return fail(cdn.ErrPeerLost, &trouble.RedirectError{To: to.Redacted()})
	}
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if kind != problem.ContentType {
		return foreign(resp, kind, fail)
	}
	switch resp.StatusCode {
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusUnsupportedMediaType:
		return &cdn.Error{Op: "link", Node: cdn.NodeID(base), Err: fmt.Errorf("%w: no links there: %s", cdn.ErrUnsupported, resp.Status)}
	}
	err := problem.Read("link", "", resp, cdn.ErrInvalid)
	switch ahead, known := clock(resp); {
	case known && ahead.Abs() > clockTolerance && errors.Is(err, cdn.ErrUnauthorized):
		return fail(cdn.ErrUnauthorized, errors.Join(&trouble.ClockError{Ahead: ahead}, err))
	case errors.Is(err, cdn.ErrUnsupported):
		return fail(trouble.ErrNoCommonFamily, err)
	}
	return err
}

// foreign returns the error for an answer that comes from another server, or a proxy, and
// not from a node of ours.
func foreign(resp *http.Response, kind string, fail func(reason, err error) error) error {
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10)) // the beginning is enough
	what := &trouble.ForeignError{Status: resp.Status, Kind: kind}
	switch resp.StatusCode {
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return fail(cdn.ErrPeerLost, &trouble.ProxyError{Status: resp.Status})
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusUnsupportedMediaType:
		return fail(cdn.ErrUnsupported, what)
	case http.StatusBadRequest:
		if saysTLS.Match(text) {
			return fail(cdn.ErrPeerLost, trouble.ErrTLSPort)
		}
		return fail(cdn.ErrUnsupported, what)
	}
	return fail(problem.Read("link", "", resp, cdn.ErrInvalid), what)
}

// saysTLS matches what servers tell a client that speaks plain HTTP where TLS is expected.
var saysTLS = regexp.MustCompile(`(?i)HTTP request (was sent )?to (an )?HTTPS`)

// clockTolerance is the difference between another node's clock and ours from which on that
// counts as the reason why proofs are refused.
const clockTolerance = 90 * time.Second

// clock returns by how much the server's clock is ahead.
func clock(resp *http.Response) (ahead time.Duration, known bool) {
	at, err := http.ParseTime(resp.Header.Get("Date"))
	return time.Until(at), err == nil
}
