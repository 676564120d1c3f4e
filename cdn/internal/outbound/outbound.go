// Package outbound makes HTTP requests to addresses that an operator has configured:
// over TLS unless the address is this machine's, without following redirects, and
// with an answer of bounded size.
package outbound

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"
)

// CheckURL returns what is wrong with a URL to ask. It must be of https, or of http
// at a loopback address or at localhost, unless plain allows http everywhere. An
// error does not repeat the URL, which may hold a secret.
func CheckURL(raw string, plain bool) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, errors.New("it is no URL")
	}
	switch {
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, fmt.Errorf("its scheme is %q and not https", u.Scheme)
	case u.Hostname() == "":
		return nil, errors.New("it has no host")
	case u.Fragment != "":
		return nil, errors.New("it has a fragment")
	case u.Scheme == "http" && !plain && !loopback(u.Hostname()):
		return nil, errors.New("it must be https, since it is not on this machine")
	}
	return u, nil
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// Name returns the URL without what may be secret in it: its user, query and path.
func Name(u *url.URL) string { return u.Scheme + "://" + u.Host }

// A Client makes requests, and returns redirects as they are. Its requests have no
// time limit but their context's.
type Client struct {
	http http.Client
	own  *http.Transport // nil if the transport is the caller's
}

// NewClient returns a Client on a transport, or on one of its own if that is nil,
// which keeps up to conns connections to a host and uses the environment's proxy.
func NewClient(conns int, transport http.RoundTripper) *Client {
	c := &Client{http: http.Client{Transport: transport, CheckRedirect: stay}}
	if transport == nil {
		c.own = &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
			TLSHandshakeTimeout:    5 * time.Second,
			ForceAttemptHTTP2:      true,
			MaxConnsPerHost:        conns,
			MaxIdleConnsPerHost:    conns,
			IdleConnTimeout:        90 * time.Second,
			MaxResponseHeaderBytes: 64 << 10,
		}
		c.http.Transport = c.own
	}
	return c
}

func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// Do makes a request. The caller owes the response a call of Discard. An error does
// not repeat the request's URL.
func (c *Client) Do(r *http.Request) (*http.Response, error) {
	resp, err := c.http.Do(r)
	var e *url.Error
	if errors.As(err, &e) {
		err = e.Err
	}
	return resp, err
}

// Close closes the connections that are not in use, if the transport is the Client's
// own.
func (c *Client) Close() {
	if c.own != nil {
		c.own.CloseIdleConnections()
	}
}

// ErrTooLarge says that a body is longer than it may be.
var ErrTooLarge = errors.New("the body is too long")

// ReadAll reads a body of limit bytes at most.
func ReadAll(body io.Reader, limit int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(body, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("%w: more than %d bytes", ErrTooLarge, limit)
	}
	return data, err
}

// Discard ends a response of which no more is wanted. It reads a little, so that the
// connection can be used again.
func Discard(body io.ReadCloser) {
	_, _ = io.CopyN(io.Discard, body, 16<<10)
	_ = body.Close()
}
