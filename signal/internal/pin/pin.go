// Package pin lets HTTP clients connect to a server at a given address.
package pin

import (
	"context"
	"net"
	"net/http"
	"net/url"

	"github.com/deltacdn/delta/signal"
)

// Client returns a client that connects to the server of target at the address that ctx has
// from [signal.WithAddr], and to all others as base does: base itself, if ctx has none.
// Connections serve one request each, so that none is shared with another address.
//
// A base whose Transport is no [http.Transport], or makes TLS connections by a function
// of its own, is returned as it is.
func Client(ctx context.Context, base *http.Client, target *url.URL) *http.Client {
	if base == nil {
		base = http.DefaultClient
	}
	addr, ok := signal.Addr(ctx)
	if !ok {
		return base
	}
	rt := base.Transport
	if rt == nil {
		rt = http.DefaultTransport
	}
	transport, ok := rt.(*http.Transport)
	if !ok || dialsItself(transport) {
		return base
	}
	transport = transport.Clone()
	transport.DisableKeepAlives = true
	dial := transport.DialContext
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	host, port := authority(target)
	from, to := net.JoinHostPort(host, port), net.JoinHostPort(addr.String(), port)
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		if address == from { // otherwise it is a proxy, or where a redirect leads
			address = to
		}
		return dial(ctx, network, address)
	}
	pinned := *base
	pinned.Transport = transport
	return &pinned
}

// dialsItself reports whether a transport has functions that must see the name.
func dialsItself(t *http.Transport) bool {
	return t.DialTLSContext != nil || t.DialTLS != nil || t.Dial != nil && t.DialContext == nil //nolint:staticcheck // deprecated, but they may be set
}

// authority returns the host and port that a transport dials for target.
func authority(target *url.URL) (host, port string) {
	if port = target.Port(); port == "" {
		port = map[string]string{"http": "80", "https": "443"}[target.Scheme]
	}
	return target.Hostname(), port
}
