package urlauth_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/cdn/urlauth"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/origin"
	"github.com/deltacdn/delta/signal"
	"github.com/deltacdn/delta/signal/whep"
	"github.com/deltacdn/delta/signal/whip"
)

// Clients that know nothing but a URL publish and play by it over HTTP, and stop when it
// is revoked.
func TestSignedURLsOverHTTP(t *testing.T) {
	a := authority(t, recent)
	node, err := cdn.Listen(cdn.Config{Addr: "127.0.0.1:0", Authorizer: a})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, node.Close()) })
	live, err := origin.New(node, origin.Config{})
	require.NoError(t, err)
	view, err := edge.New(node, edge.Config{Source: live})
	require.NoError(t, err)
	publish, err := whip.New(live, whip.Config{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, publish.Close()) })
	play, err := whep.New(view, whep.Config{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, play.Close()) })
	mux := http.NewServeMux()
	mux.Handle("/whip/", publish)
	mux.Handle("/whep/", play)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	signed := func(path string, action cdn.Action, id string) string {
		u, err := a.Sign(server.URL+path, urlauth.Permit{
			Actions: []cdn.Action{action}, Streams: "live/a", ID: id, Expires: time.Now().Add(time.Hour),
		})
		require.NoError(t, err)
		return u
	}
	p := cdntest.Publish(t, cdntest.PublisherConfig{Dialer: &whip.Client{}, URL: signed("/whip/live/a", cdn.ActionPublish, "camera")})
	require.NoError(t, p.WaitConnected(t.Context()))
	v := cdntest.View(t, cdntest.ViewerConfig{Dialer: &whep.Client{}, URL: signed("/whep/live/a", cdn.ActionPlay, "viewer")})
	require.NoError(t, v.WaitFrames(t.Context(), 5))
	for target, want := range map[string]error{
		server.URL + "/whep/live/a":                      cdn.ErrUnauthorized,
		signed("/whep/live/a", cdn.ActionPublish, ""):    cdn.ErrForbidden,
		signed("/whep/live/b", cdn.ActionPlay, ""):       cdn.ErrForbidden,
		signed("/whep/live/a", cdn.ActionPlay, "") + "0": cdn.ErrUnauthorized,
	} {
		_, err := (&whep.Client{}).Dial(t.Context(), target, signal.Offer{SDP: "v=0\r\n"})
		require.ErrorIs(t, err, want, target)
	}
	a.Revoke("viewer")
	select {
	case <-v.Done():
	case <-time.After(20 * time.Second):
		t.Fatal("the viewer goes on")
	}
	// The viewer is told ahead of the node's own books.
	require.Eventually(t, func() bool { return len(node.Sessions()) < 2 }, 20*time.Second, time.Millisecond)
	require.Len(t, node.Sessions(), 1, "the publisher stays")
}
