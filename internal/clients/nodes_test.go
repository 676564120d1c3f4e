package clients

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/internal/demo"
	"github.com/deltacdn/delta/origin"
	"github.com/deltacdn/delta/relay"
	"github.com/deltacdn/delta/signal/whep"
	"github.com/deltacdn/delta/signal/whip"
)

// A place is a node with its web server, which has the browsers' page, too.
type place struct {
	name string
	node *cdn.Node
	url  string
	mux  *http.ServeMux
}

// nodes are an origin, which serves viewers itself, and an edge that fetches from
// it by a link.
type nodes struct{ origin, hop *place }

// all returns where viewers can be.
func (n *nodes) all() []*place { return []*place{n.origin, n.hop} }

// startNodes starts them. The recorder may be nil.
func startNodes(t *testing.T, r *recorder, tune ...func(*cdn.Config)) *nodes {
	n := &nodes{origin: newPlace(t, "origin", r, tune...), hop: newPlace(t, "hop", nil, tune...)}

	live, err := origin.New(n.origin.node, origin.Config{})
	require.NoError(t, err)
	publishers, err := whip.New(live, whip.Config{})
	require.NoError(t, err)
	n.origin.mux.Handle("/whip/", publishers)
	server, err := relay.NewServer(n.origin.node, live)
	require.NoError(t, err)
	others, err := server.Handler()
	require.NoError(t, err)
	n.origin.mux.Handle(relay.Prefix, others)
	n.origin.serveViewers(t, live)

	up, err := relay.New(n.hop.node, relay.Config{Directory: cdn.Static(n.origin.url)})
	require.NoError(t, err)
	n.hop.serveViewers(t, up)
	return n
}

// newPlace starts a node on all addresses, since a browser need not use those of
// the loopback interface.
func newPlace(t *testing.T, name string, r *recorder, tune ...func(*cdn.Config)) *place {
	p := &place{name: name, mux: http.NewServeMux()}
	handler := http.Handler(p.mux)
	if r != nil {
		handler = r.handler(handler)
	}
	server := httptest.NewServer(handler)
	p.url = server.URL
	config := cdn.Config{
		ID: cdn.NodeID(name), Addr: "0.0.0.0:0", URL: p.url, Trust: cdn.Trust{Secret: "that the test's nodes share"},
	}
	if r != nil {
		config.Net = r
	}
	if os.Getenv("DELTA_CLIENTS_LOG") != "" {
		config.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})).With("node", name)
	}
	for _, f := range tune {
		f(&config)
	}
	var err error
	p.node, err = cdn.Listen(config)
	require.NoError(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s: %+v", name, p.node.Stats().Streams)
		}
		require.NoError(t, p.node.Close())
		server.CloseClientConnections()
		server.Close()
	})
	p.mux.Handle("/", http.FileServer(http.Dir("page")))
	p.mux.Handle("/npm/", http.StripPrefix("/npm/", http.FileServer(http.Dir("drivers/node_modules"))))
	return p
}

func (p *place) serveViewers(t *testing.T, s cdn.Source) {
	e, err := edge.New(p.node, edge.Config{Source: s})
	require.NoError(t, err)
	h, err := whep.New(e, whep.Config{})
	require.NoError(t, err)
	p.mux.Handle("/whep/", h)
}

// publishClip publishes the demo's clip (VP8 and Opus) to the origin until t ends.
func (n *nodes) publishClip(t *testing.T, stream string) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		err := demo.Publish(ctx, demo.Config{URL: n.origin.url + "/whip/" + stream, Dialer: &whip.Client{}, Stream: cdn.StreamID(stream)})
		if err != nil {
			t.Errorf("the clip: %v", err)
		}
	})
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
}

// isLive reports whether a stream is published at p.
func (p *place) isLive(stream string) bool {
	return slices.ContainsFunc(p.node.Stats().Streams, func(s cdn.StreamStats) bool { return s.Stream == cdn.StreamID(stream) && s.Live && len(s.Tracks) > 0 })
}

func (p *place) waitLive(t *testing.T, stream string, live bool) {
	t.Helper()
	require.Eventually(t, func() bool { return p.isLive(stream) == live }, patience, 20*time.Millisecond,
		"%s at %s: live %v", stream, p.name, live)
}
