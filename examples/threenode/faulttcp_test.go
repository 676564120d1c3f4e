package main

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/signal/whep"
)

// Clients without UDP play, and a node that is killed and comes back serves them again.
func TestPlayByTCP(t *testing.T) {
	leavesNothing(t, func(t *testing.T) {
		urls := start3(t)
		waitLive(t, urls["origin"])
		play := func() {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			v, err := cdntest.NewViewer(ctx, cdntest.ViewerConfig{Dialer: &whep.Client{}, URL: urls["edge1"] + "/whep/demo", TCP: true})
			require.NoError(t, err)
			t.Cleanup(func() { _ = v.Close() })
			require.Eventually(t, func() bool { return v.Report().Video().Packets > 60 }, patience, 20*time.Millisecond)
		}
		play()
		require.Equal(t, http.StatusNoContent, press(t, urls["edge2"], "kill", "edge1"))
		require.Equal(t, http.StatusNoContent, press(t, urls["edge2"], "restore", "edge1"))
		play()
	})
}
