package conformance

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/origin"
	"github.com/deltacdn/delta/relay"
	"github.com/deltacdn/delta/signal"
	"github.com/deltacdn/delta/signal/whep"
	"github.com/deltacdn/delta/signal/whip"
)

// counters is a WHEP server that takes no offer: it makes one itself
// (draft-ietf-wish-whep-04, "406 Not Acceptable").
func counters(t *testing.T, offerer signal.Offerer) http.Handler {
	var session signal.OfferedSession
	mux := http.NewServeMux()
	mux.HandleFunc("POST /whep/live", func(w http.ResponseWriter, r *http.Request) {
		var err error
		session, err = offerer.Invite(r.Context(), signal.Offer{Stream: "live", RemoteAddr: r.RemoteAddr})
		if err != nil {
			t.Error(err)
			return
		}
		w.Header().Set("Content-Type", "application/sdp")
		w.Header().Set("Location", "/session")
		w.WriteHeader(http.StatusNotAcceptable)
		_, _ = io.WriteString(w, session.SDP())
	})
	mux.HandleFunc("PATCH /session", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.Header.Get("Content-Type") != "application/sdp" {
			t.Errorf("answered as %s", r.Header.Get("Content-Type"))
		}
		if err := session.Accept(r.Context(), string(body)); err != nil {
			t.Error(err)
		}
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("DELETE /session", func(http.ResponseWriter, *http.Request) { _ = session.Close() })
	return mux
}

// A player answers a server's counter-offer, and plays.
func TestCounterOffersAreAnswered(t *testing.T) {
	node, err := cdn.Listen(cdn.Config{Addr: "127.0.0.1:0"})
	require.NoError(t, err)
	defer func() { require.NoError(t, node.Close()) }()
	live, err := origin.New(node, origin.Config{})
	require.NoError(t, err)
	publish, err := whip.New(live, whip.Config{})
	require.NoError(t, err)
	offerer, err := relay.NewServer(node, live)
	require.NoError(t, err)
	mux := http.NewServeMux()
	mux.Handle("/whip/", publish)
	mux.Handle("/", counters(t, offerer))
	s := httptest.NewServer(mux)
	defer s.Close()
	cdntest.Publish(t, cdntest.PublisherConfig{Dialer: &whip.Client{}, URL: s.URL + "/whip/live"})
	viewer := cdntest.View(t, cdntest.ViewerConfig{Dialer: &whep.Client{}, URL: s.URL + "/whep/live", Stream: "live"})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	require.NoError(t, viewer.WaitFrames(ctx, 10))
	require.NoError(t, viewer.Close())
}
