package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/origin"
	"github.com/deltacdn/delta/signal/whep"
	"github.com/deltacdn/delta/signal/whip"
)

// newDelta is an origin and an edge on one node.
func newDelta(udp string, peerConnections bool) (http.Handler, func() error, error) {
	log := slog.New(slog.DiscardHandler)
	node, err := cdn.Listen(cdn.Config{ID: "bench", Addr: udp, Logger: log})
	if err != nil {
		return nil, nil, err
	}
	fail := func(err error) (http.Handler, func() error, error) {
		return nil, nil, fmt.Errorf("%w (closing: %w)", err, node.Close())
	}
	o, err := origin.New(node, origin.Config{})
	if err != nil {
		return fail(err)
	}
	e, err := edge.New(node, edge.Config{Source: o, PeerConnections: peerConnections})
	if err != nil {
		return fail(err)
	}
	in, err := whip.New(o, whip.Config{Prefix: "/whip/"})
	if err != nil {
		return fail(err)
	}
	out, err := whep.New(e, whep.Config{Prefix: "/whep/"})
	if err != nil {
		return fail(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/whip/", in)
	mux.Handle("/whep/", out)
	mux.HandleFunc("GET /stats", func(w http.ResponseWriter, _ *http.Request) {
		viewers := e.Stats()
		viewers.Sessions = nil
		_ = json.NewEncoder(w).Encode(struct {
			cdn.NodeStats
			Viewers edge.Stats
		}{node.Stats(), viewers})
	})
	return mux, node.Close, nil
}
