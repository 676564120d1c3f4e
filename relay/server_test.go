package relay_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/origin"
	"github.com/deltacdn/delta/relay"
)

// Without an Authorizer a node may fetch by WHEP from this machine only, and who
// comes through a proxy on it, or from who knows where, may be elsewhere.
func TestFetchingWithoutALinkFromElsewhere(t *testing.T) {
	n, err := cdn.Listen(cdn.Config{Addr: "127.0.0.1:0"})
	require.NoError(t, err)
	defer func() { require.NoError(t, n.Close()) }()
	live, err := origin.New(n, origin.Config{})
	require.NoError(t, err)
	h, err := relay.Handler(n, live)
	require.NoError(t, err)
	ask := func(from string, header ...string) int {
		r := httptest.NewRequest(http.MethodPost, relay.Prefix+"live", nil)
		r.RemoteAddr = from
		for _, name := range header {
			r.Header.Set(name, "127.0.0.1")
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Code
	}
	require.Equal(t, http.StatusNotFound, ask("127.0.0.1:7"), "of a stream that is not there")
	for _, from := range []string{"192.0.2.1:7", "", "@"} {
		require.Equal(t, http.StatusUnauthorized, ask(from), from)
	}
	require.Equal(t, http.StatusUnauthorized, ask("127.0.0.1:7", "X-Forwarded-For"))
	require.Equal(t, http.StatusUnauthorized, ask("127.0.0.1:7", "Forwarded"))
}
