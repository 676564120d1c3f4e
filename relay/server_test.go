package relay_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/access"
	"github.com/deltacdn/delta/origin"
	"github.com/deltacdn/delta/relay"
)

// Without an Authorizer a node may fetch by WHEP from this machine only, and who
// comes through a proxy on it, or from who knows where, may be elsewhere.
func TestFetchingWithoutALinkFromElsewhere(t *testing.T) {
	ask := asking(t, cdn.Config{})
	require.Equal(t, http.StatusNotFound, ask("127.0.0.1:7"), "of a stream that is not there")
	for _, from := range []string{"192.0.2.1:7", "", "@"} {
		require.Equal(t, http.StatusUnauthorized, ask(from), from)
	}
	require.Equal(t, http.StatusUnauthorized, ask("127.0.0.1:7", "X-Forwarded-For"))
	require.Equal(t, http.StatusUnauthorized, ask("127.0.0.1:7", "Forwarded"))
}

// Where nodes know each other by a secret, a requester that does not prove that it
// knows it is refused, on this machine, too. An Authorizer may accept the
// credential of one, but is not asked about one that shows nothing: what it grants
// there is meant for nodes.
func TestFetchingWithoutALinkNorTheSecret(t *testing.T) {
	trust := cdn.Trust{Secret: "known to nodes"}
	ask := asking(t, cdn.Config{Trust: trust})
	require.Equal(t, http.StatusUnauthorized, ask("127.0.0.1:7"))
	require.Equal(t, http.StatusUnauthorized, ask("127.0.0.1:7", "Authorization"))

	leavesNodesToTheSecret := cdn.AuthorizerFunc(func(_ context.Context, r cdn.AuthRequest) (cdn.Grant, error) {
		if r.Credential != "" && r.Credential != "token" {
			return cdn.Grant{}, cdn.ErrForbidden
		}
		return cdn.Grant{}, nil
	})
	ask = asking(t, cdn.Config{Trust: trust, Authorizer: leavesNodesToTheSecret})
	for _, from := range []string{"127.0.0.1:7", "192.0.2.1:7", ""} {
		require.Equal(t, http.StatusUnauthorized, ask(from), from)
	}
	require.Equal(t, http.StatusNotFound, ask("192.0.2.1:7", "Authorization"), "of a stream that is not there")
}

// An access list around nobody takes away, and vouches for nobody: nodes are let in as
// without an Authorizer, unless the list denies it.
func TestAnAccessListVouchesForNobody(t *testing.T) {
	list, err := access.New(nil, access.Policy{})
	require.NoError(t, err)
	ask := asking(t, cdn.Config{Authorizer: list})
	require.Equal(t, http.StatusNotFound, ask("127.0.0.1:7"))
	for _, from := range []string{"192.0.2.1:7", "", "@"} {
		require.Equal(t, http.StatusUnauthorized, ask(from), from)
	}
	require.Equal(t, http.StatusUnauthorized, ask("127.0.0.1:7", "X-Forwarded-For"))
	_, err = list.Block("live", "", time.Time{})
	require.NoError(t, err)
	require.Equal(t, http.StatusForbidden, ask("127.0.0.1:7"))

	ask = asking(t, cdn.Config{Authorizer: list, Trust: cdn.Trust{Secret: "known to nodes"}})
	require.Equal(t, http.StatusUnauthorized, ask("127.0.0.1:7"))
	require.Equal(t, http.StatusUnauthorized, ask("127.0.0.1:7", "Authorization"))
}

// asking returns what asks a node for a stream that it does not have, from an
// address and with headers, and returns the status.
func asking(t *testing.T, c cdn.Config) func(from string, header ...string) int {
	c.Addr = "127.0.0.1:0"
	n, err := cdn.Listen(c)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, n.Close()) })
	live, err := origin.New(n, origin.Config{})
	require.NoError(t, err)
	h, err := relay.Handler(n, live)
	require.NoError(t, err)
	return func(from string, header ...string) int {
		r := httptest.NewRequest(http.MethodPost, relay.Prefix+"live", nil)
		r.RemoteAddr = from
		for _, name := range header {
			r.Header.Set(name, "127.0.0.1")
			if name == "Authorization" {
				r.Header.Set(name, "Bearer token")
			}
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Code
	}
}

// A wish that came through more nodes than any tree has is refused.
func TestAWishThatCameTooFar(t *testing.T) {
	n, err := cdn.Listen(cdn.Config{Addr: "127.0.0.1:0"})
	require.NoError(t, err)
	defer func() { require.NoError(t, n.Close()) }()
	r, err := relay.New(n, relay.Config{Directory: cdn.NewMemory()})
	require.NoError(t, err)
	path := []cdn.NodeID{"1", "2", "3", "4", "5", "6", "7"}
	sub, err := r.Open(t.Context(), cdn.Request{Stream: "live", Path: path})
	require.NoError(t, err)
	sub.Close()
	_, err = r.Open(t.Context(), cdn.Request{Stream: "live", Path: append(path, "8")})
	require.ErrorIs(t, err, cdn.ErrLoop)
}
