package main

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/internal/demo/console"
	"github.com/deltacdn/delta/internal/demo/web"
	"github.com/deltacdn/delta/relay"
)

// ready answers 200 when the node can do its work: an origin at once, others when
// they reach one of the nodes at -entry, and none while it leaves.
func (n *node) ready(w http.ResponseWriter, _ *http.Request) {
	if n.node.Draining() {
		http.Error(w, "the node is draining: it accepts no new sessions", http.StatusServiceUnavailable)
		return
	}
	if n.live == nil && !n.up.Ready() {
		http.Error(w, notReady(n.config.Network.Shared()), http.StatusServiceUnavailable)
		return
	}
	_, _ = w.Write([]byte("ready\n"))
}

func notReady(shared bool) string {
	if shared {
		return "no other node is known in the directory yet, or none can be reached"
	}
	return "no node of -entry can be reached yet"
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
	case n.config.Node.Roles.Relay:
		return web.Relay
	}
	return web.Edge
}

// page is what the pages show. Where clients need credentials, strangers see the streams
// neither.
func (n *node) page() web.Status {
	st := n.shown()
	st.Private = n.config.Auth.On()
	return st
}

// shown is what the node can show.
func (n *node) shown() web.Status {
	network := web.Nobody
	if n.apiAtHTTP() {
		network = web.Operators
	}
	st := console.Node{
		CDN: n.node, Name: string(n.node.ID()), URL: n.url, Role: n.role(), CanPublish: n.live != nil, Network: network,
		Up: n.up, Server: n.server, Edge: n.view, Peers: n.peers.of(relay.Links(n.node), time.Now()),
	}.Status()
	st.Siblings = n.siblings()
	return st
}

// adminPage is what the console at the listener for operators shows.
func (n *node) adminPage() web.Status {
	st := n.shown()
	st.Private = n.config.Admin.Token != "" // the page itself needs none
	st.Network, st.Site = web.Operators, n.url
	return st
}
