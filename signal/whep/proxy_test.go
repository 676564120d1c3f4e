package whep_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/signal"
	"github.com/deltacdn/delta/signal/whep"
	"github.com/deltacdn/delta/signal/whip"
)

// noting keeps where offers come from, and refuses them.
type noting struct{ from string }

func (n *noting) Offer(_ context.Context, o signal.Offer) (signal.Session, error) {
	n.from = o.RemoteAddr
	return nil, cdn.ErrNotFound
}

// The client's address is what a declared proxy says, and nobody else.
func TestDeclaredProxies(t *testing.T) {
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	to := &noting{}
	play, err := whep.New(to, whep.Config{Proxies: proxies})
	require.NoError(t, err)
	publish, err := whip.New(to, whip.Config{Proxies: proxies})
	require.NoError(t, err)
	for path, h := range map[string]http.Handler{"/whep/live": play, "/whip/live": publish} {
		for from, want := range map[string]string{"10.1.2.3:7": "192.0.2.1:0", "198.51.100.1:7": "198.51.100.1:7"} {
			r := httptest.NewRequest(http.MethodPost, path, strings.NewReader("v=0\r\n"))
			r.RemoteAddr = from
			r.Header.Set("Content-Type", "application/sdp")
			r.Header.Set("X-Forwarded-For", "203.0.113.9, 192.0.2.1")
			h.ServeHTTP(httptest.NewRecorder(), r)
			require.Equal(t, want, to.from, path)
		}
	}
}
