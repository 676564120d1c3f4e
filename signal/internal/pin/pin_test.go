package pin_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/signal"
	"github.com/deltacdn/delta/signal/internal/pin"
	"github.com/deltacdn/delta/signal/link"
	"github.com/deltacdn/delta/signal/whep"
)

// servers starts a server at each address, on one port, for a name that none of them has
// in the world's DNS but TLS certificates for. Each tells which it is.
func servers(t *testing.T, serve http.HandlerFunc, addrs ...string) (base string, client *http.Client) {
	var port string
	for _, a := range addrs {
		l, err := net.Listen("tcp", net.JoinHostPort(a, port))
		if err != nil && port != "" {
			t.Skipf("this system has no %s: %v", a, err)
		}
		require.NoError(t, err)
		_, port, _ = net.SplitHostPort(l.Addr().String())
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Server", a)
			serve(w, r)
		}))
		_ = s.Listener.Close()
		s.Listener = l
		s.StartTLS()
		t.Cleanup(s.Close)
		transport := s.Client().Transport.(*http.Transport).Clone() // knows the servers' authority
		transport.DialContext = nil                                 // and leads example.com to itself
		transport.Proxy = nil
		client = &http.Client{Transport: transport}
		t.Cleanup(transport.CloseIdleConnections)
	}
	return "https://example.com:" + port, client
}

func at(t *testing.T, addr string) context.Context {
	return signal.WithAddr(t.Context(), netip.MustParseAddr(addr))
}

// Requests go to the address, TLS and Host to the name, and no connection is shared.
func TestClient(t *testing.T) {
	base, client := servers(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Host)
	}, "127.0.0.1", "127.0.0.2")
	target, err := url.Parse(base + "/x")
	require.NoError(t, err)
	for range 2 {
		for _, addr := range []string{"127.0.0.1", "127.0.0.2"} {
			ctx := at(t, addr)
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
			require.NoError(t, err)
			resp, err := pin.Client(ctx, client, target).Do(req)
			require.NoError(t, err)
			body, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			assert.Equal(t, addr, resp.Header.Get("X-Server"))
			assert.Equal(t, target.Host, string(body))
		}
	}
	other, err := url.Parse(strings.Replace(base, "example.com", "wrong.test", 1))
	require.NoError(t, err)
	ctx := at(t, "127.0.0.1")
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, other.String(), nil)
	require.NoError(t, err)
	_, err = pin.Client(ctx, client, other).Do(req)
	require.ErrorContains(t, err, "wrong.test", "the name is verified")
}

// What cannot be told where to dial is left as it is; so is everybody else.
func TestClientIsTheCallers(t *testing.T) {
	target := &url.URL{Scheme: "https", Host: "example.com"}
	c := &http.Client{}
	assert.Same(t, c, pin.Client(t.Context(), c, target))
	assert.Same(t, http.DefaultClient, pin.Client(t.Context(), nil, target))
	own := &http.Client{Transport: roundTripper{}}
	assert.Same(t, own, pin.Client(at(t, "192.0.2.1"), own, target))
	tls := &http.Client{Transport: &http.Transport{DialTLSContext: func(context.Context, string, string) (net.Conn, error) { return nil, io.EOF }}}
	assert.Same(t, tls, pin.Client(at(t, "192.0.2.1"), tls, target))
	var dialed []string
	mine := &http.Client{Transport: &http.Transport{DialContext: func(_ context.Context, _, address string) (net.Conn, error) {
		dialed = append(dialed, address)
		return nil, io.EOF
	}}}
	for _, addr := range []string{"192.0.2.1", "2001:db8::1"} {
		for _, to := range []string{"https://example.com/", "http://example.com:8080/"} {
			u, err := url.Parse(to)
			require.NoError(t, err)
			req, err := http.NewRequestWithContext(at(t, addr), http.MethodGet, to, nil)
			require.NoError(t, err)
			_, err = pin.Client(req.Context(), mine, u).Do(req)
			require.ErrorIs(t, err, io.EOF)
		}
	}
	assert.Equal(t, []string{"192.0.2.1:443", "192.0.2.1:8080", "[2001:db8::1]:443", "[2001:db8::1]:8080"}, dialed)
}

type roundTripper struct{}

func (roundTripper) RoundTrip(*http.Request) (*http.Response, error) { return nil, io.EOF }

// Offers of links go to the address, and so do all requests of a session; not those to
// which another server redirects.
func TestDialers(t *testing.T) {
	var mu sync.Mutex
	var seen []string
	base, client := servers(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, r.Method+" "+w.Header().Get("X-Server"))
		switch {
		case r.Method == http.MethodPost && r.URL.Path == link.Path:
			w.Header().Set("Content-Type", link.MediaType)
			_, _ = io.WriteString(w, "{}")
		case r.Method == http.MethodPost:
			w.Header().Set("Content-Type", "application/sdp")
			w.Header().Set("Location", "/session")
			w.Header().Set("ETag", `"1"`)
			w.WriteHeader(http.StatusCreated)
			_, _ = io.WriteString(w, "v=0\r\n")
		default:
			w.WriteHeader(http.StatusNoContent)
		}
	}, "127.0.0.1", "127.0.0.2")
	for _, addr := range []string{"127.0.0.2", "127.0.0.1"} {
		mu.Lock()
		seen = nil
		mu.Unlock()
		_, err := (&link.Client{HTTP: client}).DialLink(at(t, addr), base, []byte("{}"))
		require.NoError(t, err)
		s, err := (&whep.Client{HTTP: client}).Dial(at(t, addr), base+"/whep/live", signal.Offer{Stream: "live", SDP: "v=0\r\n"})
		require.NoError(t, err)
		_, err = s.Patch(t.Context(), "a=ice-ufrag:x\r\n")
		require.NoError(t, err)
		require.NoError(t, s.Close(t.Context()))
		mu.Lock()
		assert.Equal(t, []string{"POST " + addr, "POST " + addr, "PATCH " + addr, "DELETE " + addr}, seen)
		mu.Unlock()
	}
}

func TestRedirectElsewhere(t *testing.T) {
	elsewhere := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", link.MediaType)
		_, _ = io.WriteString(w, "elsewhere")
	}))
	t.Cleanup(elsewhere.Close)
	base, client := servers(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere.URL+link.Path, http.StatusTemporaryRedirect)
	}, "127.0.0.1", "127.0.0.2")
	answer, err := (&link.Client{HTTP: client}).DialLink(at(t, "127.0.0.2"), base, []byte("{}"))
	require.NoError(t, err)
	assert.Equal(t, "elsewhere", string(answer))
	_, err = (&whep.Client{HTTP: client}).Dial(at(t, "127.0.0.2"), base+"/whep/live", signal.Offer{Stream: "live", SDP: "v=0\r\n"})
	require.ErrorIs(t, err, cdn.ErrInvalid, fmt.Sprint("it was asked: ", err)) // what answers is no WHEP server
	require.NotErrorIs(t, err, cdn.ErrPeerLost)
}
