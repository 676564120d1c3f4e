package hookauth_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/cdn/hookauth"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/origin"
	"github.com/deltacdn/delta/signal/whep"
	"github.com/deltacdn/delta/signal/whip"
)

// Over real WHIP, WHEP, ICE, DTLS and SRTP: a hook that takes a grant back ends the
// session at its next look; one that is away ends none, and gives newcomers 503 and not
// 401.
func TestSessions(t *testing.T) {
	var kicked, away atomic.Bool
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if away.Load() {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		var q [16 << 10]byte
		n, _ := r.Body.Read(q[:])
		if kicked.Load() && strings.Contains(string(q[:n]), `"credential":"bob"`) {
			_, _ = w.Write([]byte(`{"allow":false}`))
			return
		}
		_, _ = w.Write([]byte(`{"allow":true,"ttl":60}`))
	}))
	defer hook.Close()
	a := authorizer(t, hookauth.Config{URL: hook.URL, Recheck: 400 * time.Millisecond})
	node, err := cdn.Listen(cdn.Config{Addr: "127.0.0.1:0", Authorizer: a})
	require.NoError(t, err)
	defer node.Close()
	live, err := origin.New(node, origin.Config{})
	require.NoError(t, err)
	out, err := edge.New(node, edge.Config{Source: live})
	require.NoError(t, err)
	in, err := whip.New(live, whip.Config{})
	require.NoError(t, err)
	defer in.Close()
	play, err := whep.New(out, whep.Config{})
	require.NoError(t, err)
	defer play.Close()
	mux := http.NewServeMux()
	mux.Handle("/whip/", in)
	mux.Handle("/whep/", play)
	server := httptest.NewServer(mux)
	defer server.Close()

	within := func() context.Context {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		t.Cleanup(cancel)
		return ctx
	}
	p, err := cdntest.NewPublisher(t.Context(), cdntest.PublisherConfig{
		Dialer: &whip.Client{}, URL: server.URL + "/whip/live/a", Stream: "live/a", Credential: "ann",
	})
	require.NoError(t, err)
	defer p.Kill()
	require.NoError(t, p.WaitConnected(within()))
	view := func(token string) (*cdntest.Viewer, error) {
		return cdntest.NewViewer(t.Context(), cdntest.ViewerConfig{
			Dialer: &whep.Client{}, URL: server.URL + "/whep/live/a", Stream: "live/a", Credential: token,
		})
	}
	bob, err := view("bob")
	require.NoError(t, err)
	defer bob.Kill()
	eve, err := view("eve")
	require.NoError(t, err)
	defer eve.Kill()
	require.NoError(t, bob.WaitFrames(within(), 10))

	away.Store(true)
	require.Eventually(t, func() bool {
		resp, err := http.Post(server.URL+"/whep/live/a", "application/sdp", strings.NewReader("v=0\r\n"))
		require.NoError(t, err)
		defer resp.Body.Close()
		var body [1000]byte
		n, _ := resp.Body.Read(body[:])
		t.Log(resp.Status, string(body[:n]))
		return resp.StatusCode == http.StatusServiceUnavailable && strings.Contains(string(body[:n]), `"unavailable"`)
	}, 5*time.Second, 100*time.Millisecond)
	_, err = view("new")
	require.ErrorIs(t, err, cdn.ErrUnavailable)
	require.NoError(t, bob.WaitFrames(within(), len(bob.Report().Video().Frames)+30))

	kicked.Store(true)
	away.Store(false)
	began := time.Now()
	select {
	case <-bob.Done():
		t.Logf("the hook took its grant back: the viewer knew after %v", time.Since(began))
	case <-time.After(20 * time.Second):
		t.Fatal("the session goes on")
	}
	require.NoError(t, eve.WaitFrames(within(), len(eve.Report().Video().Frames)+10))
}
