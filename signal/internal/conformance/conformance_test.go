package conformance

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/origin"
	"github.com/deltacdn/delta/signal/whep"
	"github.com/deltacdn/delta/signal/whip"
)

const iceServer = `<stun:stun.example.com>; rel="ice-server"`

// token is what a guarded server wants.
const token = "a.good-token_~+/=="

// guarded lets in who shows the token.
var guarded = cdn.AuthorizerFunc(func(_ context.Context, r cdn.AuthRequest) (cdn.Grant, error) {
	switch r.Credential {
	case token:
		return cdn.Grant{}, nil
	case "":
		return cdn.Grant{}, cdn.ErrUnknownCredential
	}
	return cdn.Grant{}, cdn.ErrUnauthorized
})

// serve runs an origin and an edge, whose viewers get PeerConnections or not.
func serve(t *testing.T, peerConnections bool, a cdn.Authorizer) *httptest.Server {
	node, err := cdn.Listen(cdn.Config{Addr: "127.0.0.1:0", Authorizer: a})
	require.NoError(t, err)
	live, err := origin.New(node, origin.Config{Takeover: origin.TakeoverAlways})
	require.NoError(t, err)
	view, err := edge.New(node, edge.Config{Source: live, PeerConnections: peerConnections})
	require.NoError(t, err)
	publish, err := whip.New(live, whip.Config{ICEServers: []string{iceServer}})
	require.NoError(t, err)
	play, err := whep.New(view, whep.Config{ICEServers: []string{iceServer}})
	require.NoError(t, err)
	mux := http.NewServeMux()
	mux.Handle("/whip/", publish)
	mux.Handle("/whep/", play)
	s := httptest.NewServer(mux)
	t.Cleanup(func() {
		require.NoError(t, publish.Close())
		require.NoError(t, play.Close())
		require.NoError(t, node.Close())
		s.Close()
	})
	return s
}

// run checks all rules that apply.
func run(t *testing.T, target *Target, protocol string) {
	for _, r := range Rules {
		if r.Only != "" && r.Only != protocol {
			continue
		}
		t.Run(r.Number+" "+string(r.Level)+" "+r.Section, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			if err := target.Run(ctx, r); err != nil {
				t.Errorf("%q:\n%v", r.Text, err)
			}
		})
	}
}

func TestWHIP(t *testing.T) {
	run(t, &Target{Endpoint: serve(t, false, nil).URL + "/whip/live/one"}, "whip")
}

// All rules hold where a token is needed, too.
func TestGuarded(t *testing.T) {
	s := serve(t, false, guarded)
	t.Run("whip", func(t *testing.T) { run(t, &Target{Endpoint: s.URL + "/whip/live/two", Token: token}, "whip") })
	cdntest.Publish(t, cdntest.PublisherConfig{Dialer: &whip.Client{}, URL: s.URL + "/whip/live/one", Credential: token})
	t.Run("whep", func(t *testing.T) {
		run(t, &Target{Endpoint: s.URL + "/whep/live/one", Absent: s.URL + "/whep/live/none", Playback: true, Token: token}, "whep")
	})
}

func TestWHEP(t *testing.T) {
	for name, peerConnections := range map[string]bool{"own sessions": false, "PeerConnections": true} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, peerConnections, nil)
			cdntest.Publish(t, cdntest.PublisherConfig{Dialer: &whip.Client{}, URL: s.URL + "/whip/live/one"})
			run(t, &Target{Endpoint: s.URL + "/whep/live/one", Absent: s.URL + "/whep/live/none", Playback: true}, "whep")
		})
	}
}
