package admin

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/origin"
	"github.com/deltacdn/delta/signal/inproc"
	"github.com/deltacdn/delta/signal/whep"
)

// A WHEP client that asks about its session after it was kicked is told the reason.
func TestTheReasonReachesTheClient(t *testing.T) {
	node, err := cdn.Listen(cdn.Config{ID: "one", Addr: "127.0.0.1:0"})
	require.NoError(t, err)
	defer node.Close()
	o, err := origin.New(node, origin.Config{})
	require.NoError(t, err)
	e, err := edge.New(node, edge.Config{Source: o})
	require.NoError(t, err)
	a, err := New(Config{Node: node, Origin: o, Edge: e})
	require.NoError(t, err)
	handler, err := whep.New(e, whep.Config{})
	require.NoError(t, err)
	location := make(chan string, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handler.ServeHTTP(w, r)
		if r.Method == http.MethodPost {
			location <- w.Header().Get("Location")
		}
	}))
	defer server.Close()
	defer handler.Close()

	publishing := inproc.New(inproc.Config{})
	publishing.Handle("http://one/whip/", o)
	p := cdntest.Publish(t, cdntest.PublisherConfig{Dialer: publishing, URL: "http://one/whip/live", Stream: "live", Video: &cdntest.Video{Bitrate: 300_000, FPS: 10}})
	require.NoError(t, p.WaitConnected(t.Context()))
	v := cdntest.View(t, cdntest.ViewerConfig{Dialer: &whep.Client{}, URL: server.URL + "/whep/live", Stream: "live"})
	require.NoError(t, v.WaitFrames(t.Context(), 5))
	page, err := a.Sessions(t.Context(), SessionQuery{Action: "play"})
	require.NoError(t, err)
	require.Len(t, page.Sessions, 1)
	_, err = a.Kick(t.Context(), "ops", page.Sessions[0].ID, "spam")
	require.NoError(t, err)
	select {
	case <-v.Done():
	case <-time.After(20 * time.Second):
		t.Fatal("the viewer goes on")
	}

	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+<-location, nil)
	require.NoError(t, err)
	r.Header.Set("Accept", "application/problem+json")
	require.Eventually(t, func() bool {
		resp, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		defer resp.Body.Close()
		var told Problem
		_ = json.NewDecoder(resp.Body).Decode(&told)
		t.Log(resp.Status, told)
		return resp.StatusCode == http.StatusGone && told.Code == "forbidden" && told.Detail == "An operator ended the session: spam"
	}, 20*time.Second, 100*time.Millisecond)
}
