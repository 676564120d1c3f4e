package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/origin"
	"github.com/deltacdn/delta/relay"
	"github.com/deltacdn/delta/signal/whep"
	"github.com/deltacdn/delta/signal/whip"
)

// newOrigin is an origin that other nodes fetch from.
func newOrigin(udp string) (http.Handler, error) {
	node, err := cdn.Listen(cdn.Config{ID: "origin", Addr: udp})
	if err != nil {
		return nil, err
	}
	live, err := origin.New(node, origin.Config{})
	if err != nil {
		return nil, err
	}
	in, err := whip.New(live, whip.Config{Prefix: "/whip/"})
	if err != nil {
		return nil, err
	}
	nodes, err := relay.Handler(node, live)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/whip/", in)
	mux.Handle(relay.Prefix, nodes)
	return mux, nil
}

// newHop is an origin and an edge, each a node of its own, that are served at this URL.
func newHop(url string) (http.Handler, error) {
	const anyPort = "127.0.0.1:0"
	from, err := newOrigin(anyPort)
	if err != nil {
		return nil, err
	}
	to, err := newEdge(anyPort, url)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/", to)
	mux.Handle("/whip/", from)
	mux.Handle(relay.Prefix, from)
	return mux, nil
}

// newEdge is an edge that fetches from the origin at that URL. It has the defaults of
// the library, and names viewers by the token that they show.
func newEdge(udp, from string) (http.Handler, error) {
	named := func(_ context.Context, r cdn.AuthRequest) (cdn.Grant, error) { return cdn.Grant{ID: r.Credential}, nil }
	node, err := cdn.Listen(cdn.Config{
		ID: "edge", Addr: udp, Authorizer: cdn.AuthorizerFunc(named), Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	if err != nil {
		return nil, err
	}
	up, err := relay.New(node, relay.Config{Directory: cdn.Static(from)})
	if err != nil {
		return nil, err
	}
	e, err := edge.New(node, edge.Config{Source: up})
	if err != nil {
		return nil, err
	}
	out, err := whep.New(e, whep.Config{Prefix: "/whep/"})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/whep/", out)
	mux.HandleFunc("GET /stats", func(w http.ResponseWriter, _ *http.Request) {
		if err := json.NewEncoder(w).Encode(struct{ Egress cdn.EgressStats }{node.Stats().Egress}); err != nil {
			fmt.Fprintln(os.Stderr, "edge:", err)
		}
	})
	mux.HandleFunc("GET /edge", func(w http.ResponseWriter, _ *http.Request) {
		if err := json.NewEncoder(w).Encode(read(node, e)); err != nil {
			fmt.Fprintln(os.Stderr, "edge:", err)
		}
	})
	return mux, nil
}

// edgeState is what an edge tells of itself and its viewers.
type edgeState struct {
	Load    float64
	Shed    uint64 // so far
	Viewers int
	Lossy   map[string]uint64 // how often viewers have been shed, by their names
}

func read(node *cdn.Node, e *edge.Edge) edgeState {
	names := make(map[string]string)
	for _, s := range node.Sessions() {
		names[s.Session] = s.Grant
	}
	all := e.Stats()
	st := edgeState{Load: node.Load(), Shed: all.Shed, Viewers: len(all.Sessions), Lossy: make(map[string]uint64)}
	for _, v := range all.Sessions {
		if v.Shed > 0 {
			st.Lossy[names[v.Session]] = v.Shed
		}
	}
	return st
}
