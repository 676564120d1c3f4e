package main

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/examples/internal/console"
	"github.com/deltacdn/delta/examples/threenode/web"
	"github.com/deltacdn/delta/relay"
)

// ready answers 200 when the node can do its work: an origin at once, others when
// they reach one of the nodes at -entry.
func (n *node) ready(w http.ResponseWriter, _ *http.Request) {
	if n.live == nil && !n.up.Ready() {
		http.Error(w, "no node of -entry can be reached yet", http.StatusServiceUnavailable)
		return
	}
	_, _ = w.Write([]byte("ready\n"))
}

// Status is the body of /status.
type Status struct {
	Node    cdn.NodeStats
	Links   []relay.LinkStats
	Fetched []relay.FetchStats   `json:",omitempty"`
	Serving map[cdn.StreamID]int `json:",omitempty"` // nodes that have each stream from here
	Viewers *edge.Stats          `json:",omitempty"`
}

func (n *node) status(w http.ResponseWriter, _ *http.Request) {
	st := Status{Node: n.node.Stats(), Links: relay.Links(n.node)}
	if n.up != nil {
		st.Fetched = n.up.Stats()
	}
	if n.server != nil {
		st.Serving = n.server.Serving()
	}
	if n.view != nil {
		viewers := n.view.Stats()
		st.Viewers = &viewers
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(st) // the client went away: nobody to tell
}

// role is what the node is: of several things, what stands nearest to the
// publisher.
func (n *node) role() web.Role {
	switch {
	case n.live != nil:
		return web.Origin
	case n.options.roles.relay:
		return web.Relay
	}
	return web.Edge
}

// page is what the pages show.
func (n *node) page() web.Status {
	return console.Node{
		CDN: n.node, Name: string(n.node.ID()), URL: n.url, Role: n.role(), CanPublish: n.live != nil,
		Up: n.up, Server: n.server, Edge: n.view, Peers: n.peers.of(relay.Links(n.node), time.Now()),
	}.Status()
}
