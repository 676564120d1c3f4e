package main

import (
	"context"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/internal/demo/web"
	"github.com/deltacdn/delta/signal/whep"
)

// press presses a button on a node's page.
func press(t *testing.T, node, action, name string) int {
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, node+"/"+action+"?node="+url.QueryEscape(name), nil)
	require.NoError(t, err)
	r.Header.Set("Origin", node)
	resp, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	_ = resp.Body.Close()
	return resp.StatusCode
}

func peer(s web.Status, name string) web.Peer {
	for _, p := range s.Peers {
		if p.Name == name {
			return p
		}
	}
	return web.Peer{}
}

// watch views the clip at an edge, and returns a function that waits for another
// second of it.
func watch(t *testing.T, edge string) (playsOn func()) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	v, err := cdntest.NewViewer(ctx, cdntest.ViewerConfig{Dialer: &whep.Client{}, URL: edge + "/whep/demo"})
	require.NoError(t, err)
	t.Cleanup(func() { _ = v.Close() })
	require.NoError(t, v.WaitConnected(ctx))
	return func() {
		t.Helper()
		before := v.Report().Video().Packets
		lost := func() bool {
			select {
			case <-v.Done():
				return true
			default:
				return false
			}
		}
		require.Eventually(t, func() bool { return lost() || v.Report().Video().Packets > before+60 }, patience, 20*time.Millisecond)
		require.False(t, lost(), "the viewer has lost its session")
	}
}

// Relays and edges die without a word and come back, the viewers of the edges
// that are left keep their sessions, and in the end nothing is left.
func TestKillAndRestore(t *testing.T) {
	leavesNothing(t, func(t *testing.T) {
		urls := start3(t, "-relay")
		waitLive(t, urls["origin"])
		playsOn := watch(t, urls["edge1"])
		playsOn()

		fetch := func() (f web.Fetch) {
			require.Eventually(t, func() bool {
				s := status(t, urls["edge1"])
				if len(s.Fetches) == 1 {
					f = s.Fetches[0]
				}
				return f.Node != ""
			}, patience, 20*time.Millisecond)
			return f
		}
		for range 2 { // the one, then the other
			was := fetch()
			to := map[string]string{"relay1": "relay2", "relay2": "relay1"}[was.Node]
			require.Equal(t, http.StatusNoContent, press(t, urls["origin"], "kill", was.Node))
			_, err := http.Get(was.URL + "/status.json")
			require.Error(t, err, "it is gone")
			require.Eventually(t, func() bool { return peer(status(t, urls["edge1"]), was.Node).Killed }, patience, 20*time.Millisecond)
			require.Equal(t, http.StatusNotFound, press(t, urls["origin"], "kill", was.Node), "twice")
			require.Eventually(t, func() bool {
				s := status(t, urls["edge1"])
				return len(s.Fetches) == 1 && s.Fetches[0].Node == to && s.Fetches[0].Changes > was.Changes
			}, patience, 20*time.Millisecond)
			playsOn()
			require.Equal(t, http.StatusNoContent, press(t, urls["edge2"], "restore", was.Node))
			require.Equal(t, http.StatusNotFound, press(t, urls["edge2"], "restore", was.Node), "twice")
			require.Equal(t, http.StatusOK, func() int { code, _ := get(t, was.URL+"/"); return code }(), "at the same address")
			require.Eventually(t, func() bool { return peer(status(t, urls["edge1"]), was.Node).Linked }, patience, 20*time.Millisecond)
			playsOn()
		}

		require.Equal(t, http.StatusConflict, press(t, urls["edge1"], "kill", "edge1"), "whose page it is")
		require.Equal(t, http.StatusNotFound, press(t, urls["edge1"], "kill", "nobody"))
		require.Equal(t, http.StatusNoContent, press(t, urls["edge1"], "kill", "edge2"))
		playsOn()
		require.Equal(t, http.StatusNoContent, press(t, urls["edge1"], "restore", "edge2"))
		again := watch(t, urls["edge2"])
		again()
		playsOn()

		// What was killed may be left so.
		require.Equal(t, http.StatusNoContent, press(t, urls["edge1"], "kill", "relay1"))
		playsOn()
	})
}

// The built-in clip comes back to an origin that does.
func TestOriginComesBack(t *testing.T) {
	leavesNothing(t, func(t *testing.T) {
		urls := start3(t)
		waitLive(t, urls["origin"])
		require.Equal(t, http.StatusNoContent, press(t, urls["edge1"], "kill", "origin"))
		require.Equal(t, http.StatusNoContent, press(t, urls["edge1"], "restore", "origin"))
		waitLive(t, urls["origin"])
		watch(t, urls["edge1"])()
	})
}
