// Package client is the HTTP client that WHIP (RFC 9725) and WHEP
// (draft-ietf-wish-whep) have in common.
package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/signal"
	"github.com/deltacdn/delta/signal/internal/pin"
	"github.com/deltacdn/delta/signal/internal/problem"
	"github.com/deltacdn/delta/signal/internal/resource"
)

const (
	maxRedirects = 3
	maxAnswer    = 256 << 10
	closeTimeout = 2 * time.Second
)

// Client makes requests. The zero value uses http.DefaultClient.
type Client struct {
	HTTP *http.Client
	Op   string // in errors
	// Conflict is the meaning of "409 Conflict" where the server does not give one.
	Conflict error
}

// Dial posts the offer to url, with header added, and follows redirects with it
// (RFC 9725 section 4.5), but not from https to http. Credentials do not go to
// another host than url's. Where the server makes an offer of its own in place of
// an answer, the error is a [*signal.CounterOffer].
func (c *Client) Dial(ctx context.Context, target string, o signal.Offer, header http.Header) (signal.RemoteSession, error) {
	for range maxRedirects + 1 {
		resp, err := c.post(ctx, target, o, header)
		if err != nil {
			return nil, c.failed(ctx, o.Stream, err)
		}
		next, err := c.redirect(resp, o.Stream)
		if err != nil {
			return nil, err
		}
		if next == nil {
			return c.created(resp, o)
		}
		if next.Scheme != "https" && resp.Request.URL.Scheme == "https" {
			return nil, &cdn.Error{Op: c.Op, Stream: o.Stream, Err: fmt.Errorf("%w: redirect from https to %s", cdn.ErrInvalid, next.Scheme)}
		}
		if !sameServer(next, resp.Request.URL) {
			o.Credential = ""
			ctx = signal.WithAddr(ctx, netip.Addr{})
		}
		target = next.String()
	}
	return nil, &cdn.Error{Op: c.Op, Stream: o.Stream, Err: fmt.Errorf("%w: more than %d redirects", cdn.ErrInvalid, maxRedirects)}
}

// WithQuery returns target with a query parameter added, unless that is empty.
func WithQuery(target, name, value string) (string, error) {
	if value == "" {
		return target, nil
	}
	u, err := url.Parse(target)
	if err != nil {
		return "", fmt.Errorf("%w: %w", cdn.ErrInvalid, err)
	}
	q := u.Query()
	q.Set(name, value)
	u.RawQuery = q.Encode()
	return u.String(), nil
}

func sameServer(a, b *url.URL) bool { return a.Host == b.Host && a.Scheme == b.Scheme }

func (c *Client) post(ctx context.Context, target string, o signal.Offer, header http.Header) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, strings.NewReader(o.SDP))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", cdn.ErrInvalid, err)
	}
	for key, values := range header {
		req.Header[key] = values
	}
	if o.SDP != "" {
		req.Header.Set("Content-Type", resource.TypeSDP)
	}
	req.Header.Set("Accept", resource.TypeSDP)
	if t := cdn.TraceOf(ctx); t.Parent != "" {
		req.Header.Set("traceparent", t.Parent)
		if t.State != "" {
			req.Header.Set("tracestate", t.State)
		}
	}
	if o.Credential != "" {
		req.Header.Set("Authorization", "Bearer "+o.Credential)
	}
	return c.do(req)
}

// do makes a request without following redirects: the offer must go along.
func (c *Client) do(req *http.Request) (*http.Response, error) {
	once := *pin.Client(req.Context(), c.HTTP, req.URL)
	once.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := once.Do(req)
	var failed *url.Error
	if errors.As(err, &failed) { // its text is logged, and the query may hold a token
		failed.URL, _, _ = strings.Cut(failed.URL, "?")
	}
	return resp, err
}

// redirect returns the URL to which a response redirects us, nil if it does not. Statuses that are not known count as their class does (RFC 9110
// section 15): any 2xx is success.
func (c *Client) redirect(resp *http.Response, stream cdn.StreamID) (*url.URL, error) {
	switch {
	case resp.StatusCode == http.StatusTemporaryRedirect, resp.StatusCode == http.StatusPermanentRedirect:
		discard(resp)
		next, err := resp.Location()
		if err != nil {
			return nil, &cdn.Error{Op: c.Op, Stream: stream, Err: fmt.Errorf("%w: redirect: %w", cdn.ErrInvalid, err)}
		}
		return next, nil
	case resp.StatusCode/100 == 2, isCounterOffer(resp):
		return nil, nil
	}
	defer discard(resp)
	return nil, problem.Read(c.Op, stream, resp, c.Conflict)
}

// isCounterOffer reports whether the server makes an offer in place of an answer
// (draft-ietf-wish-whep-04): "406 Not Acceptable" with a description.
func isCounterOffer(resp *http.Response) bool {
	return resp.StatusCode == http.StatusNotAcceptable && contentType(resp) == resource.TypeSDP && resp.Header.Get("Location") != ""
}

func contentType(resp *http.Response) string {
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	return kind
}

// counterOfferLife is how long a counter-offer may be answered where the server sets no
// limit.
const counterOfferLife = 30 * time.Second

// validUntil returns until when a counter-offer may be answered: the HTTP-date in its media
// type's parameter valid-until.
func validUntil(resp *http.Response, now time.Time) time.Time {
	_, parameters, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if at, err := http.ParseTime(parameters["valid-until"]); err == nil {
		return at
	}
	return now.Add(counterOfferLife)
}

// created reads the answer, or the offer that we requested or get instead of one.
func (c *Client) created(resp *http.Response, o signal.Offer) (signal.RemoteSession, error) {
	defer discard(resp)
	counter := isCounterOffer(resp)
	s := &session{
		client: c, stream: o.Stream, credential: o.Credential,
		etag: resp.Header.Get("ETag"), offered: o.SDP == "" || counter,
	}
	s.addr, _ = signal.Addr(resp.Request.Context())
	if !s.offered {
		s.ufrag = ufragOf(o.SDP)
	}
	fail := func(what string) (signal.RemoteSession, error) {
		if s.url != nil { // a session that we cannot use should not stay
			ctx, cancel := context.WithTimeout(context.WithoutCancel(resp.Request.Context()), closeTimeout)
			defer cancel()
			_ = s.Close(ctx)
		}
		return nil, &cdn.Error{Op: c.Op, Stream: o.Stream, Node: cdn.NodeID(resp.Request.URL.Host), Err: fmt.Errorf("%w: %s", cdn.ErrInvalid, what)}
	}
	location, err := resp.Location()
	if err != nil {
		return fail("answer without Location")
	}
	s.url = location
	if !sameServer(location, resp.Request.URL) {
		s.credential, s.addr = "", netip.Addr{}
	}
	if contentType(resp) != resource.TypeSDP {
		return fail("answer of type " + resp.Header.Get("Content-Type"))
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil || len(body) > maxAnswer {
		return fail("answer too long or broken off")
	}
	s.sdp = string(body)
	remote := s.notifying(resp.Header)
	if counter {
		return nil, &signal.CounterOffer{Session: remote, Until: validUntil(resp, time.Now())}
	}
	return remote, nil
}

// failed wraps the reason why a request was not answered.
func (c *Client) failed(ctx context.Context, stream cdn.StreamID, err error) error {
	switch {
	case errors.Is(ctx.Err(), context.Canceled), errors.Is(err, cdn.ErrInvalid):
	case errors.Is(err, context.DeadlineExceeded):
		err = fmt.Errorf("%w: %w", cdn.ErrTimeout, err)
	default:
		err = fmt.Errorf("%w: %w", cdn.ErrPeerLost, err)
	}
	return &cdn.Error{Op: c.Op, Stream: stream, Err: err}
}

// discard reads the rest of the body, so that the connection can be used again.
func discard(resp *http.Response) {
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer))
	_ = resp.Body.Close()
}

// session is a signal.RemoteSession.
type session struct {
	client  *Client
	stream  cdn.StreamID
	url     *url.URL
	sdp     string
	offered bool // sdp is the server's offer
	// credential is sent with every request (RFC 9725 section 4.7)
	credential string
	addr       netip.Addr // of the server, where its name stands for others, too

	mu       sync.Mutex
	etag     string
	ufrag    string // ours, of the newest ICE session that we asked for
	restarts int    // how often we asked for another
}

func (s *session) SDP() string { return s.sdp }

func (s *session) Accept(ctx context.Context, answer string) error {
	if !s.offered {
		return &cdn.Error{Op: s.client.Op, Stream: s.stream, Err: fmt.Errorf("%w: the server has answered", cdn.ErrInvalid)}
	}
	s.mu.Lock()
	s.ufrag = ufragOf(answer)
	s.mu.Unlock()
	_, err := s.request(ctx, http.MethodPatch, resource.TypeSDP, answer)
	return err
}

// Patch sends a fragment. The answer to a restart is discarded if another restart was sent
// since (RFC 9725 section 4.3.3): the error then wraps [cdn.ErrSuperseded].
func (s *session) Patch(ctx context.Context, fragment string) (string, error) {
	return s.request(ctx, http.MethodPatch, resource.TypeFragment, fragment)
}

func (s *session) Close(ctx context.Context) error {
	_, err := s.request(ctx, http.MethodDelete, "", "")
	return err
}

func (s *session) request(ctx context.Context, method, kind, body string) (string, error) {
	req, err := http.NewRequestWithContext(signal.WithAddr(ctx, s.addr), method, s.url.String(), strings.NewReader(body))
	if err != nil {
		return "", &cdn.Error{Op: s.client.Op, Stream: s.stream, Err: fmt.Errorf("%w: %w", cdn.ErrInvalid, err)}
	}
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	generation := 0
	if kind == resource.TypeFragment {
		var match string
		match, generation = s.match(body)
		req.Header.Set("If-Match", match)
	}
	if s.credential != "" {
		req.Header.Set("Authorization", "Bearer "+s.credential)
	}
	resp, err := s.client.do(req)
	if err != nil {
		return "", s.client.failed(ctx, s.stream, err)
	}
	defer discard(resp)
	if gone := resp.StatusCode == http.StatusNotFound || resp.StatusCode == http.StatusGone; gone && method == http.MethodDelete {
		return "", nil // which is what was wanted
	}
	if resp.StatusCode >= 300 {
		return "", problem.Read(s.client.Op, s.stream, resp, s.client.Conflict)
	}
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return "", s.client.failed(ctx, s.stream, err)
	}
	if kind == resource.TypeFragment && !s.restarted(generation, resp.Header.Get("ETag")) {
		return "", &cdn.Error{Op: s.client.Op, Stream: s.stream, Err: fmt.Errorf("%w by a later ICE restart", cdn.ErrSuperseded)}
	}
	return string(answer), nil
}

// match returns the If-Match of a fragment: "*" for one that restarts ICE, which has other
// credentials than the last. generation counts the restarts.
func (s *session) match(fragment string) (match string, generation int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ufrag := ufragOf(fragment); ufrag != "" && ufrag != s.ufrag {
		s.ufrag = ufrag
		s.restarts++
		return "*", s.restarts
	}
	if s.etag == "" {
		return "*", s.restarts
	}
	return s.etag, s.restarts
}

// restarted notes the entity-tag of an answer. It returns false if the answer is for an
// older ICE session than the newest that we requested.
func (s *session) restarted(generation int, etag string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if generation != s.restarts {
		return false
	}
	if etag != "" {
		s.etag = etag
	}
	return true
}

func ufragOf(sdp string) string {
	_, after, _ := strings.Cut(sdp, "a=ice-ufrag:")
	ufrag, _, _ := strings.Cut(after, "\n")
	return strings.TrimSpace(ufrag)
}
