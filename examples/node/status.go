package main

import (
	"encoding/json"
	"net/http"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/edge"
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

// page is what the pages show.
func (n *node) page() web.Status {
	st := n.node.Stats()
	role := web.Edge
	switch {
	case n.live != nil:
		role = web.Origin
	case n.options.roles.relay:
		role = web.Relay
	}
	out := web.Status{
		Node:       web.Node{ID: string(st.Node), Name: string(st.Node), Role: role, URL: n.url},
		CanPublish: n.live != nil, CanPlay: n.view != nil,
	}
	for _, l := range relay.Links(n.node) {
		if l.URL != "" {
			out.Peers = append(out.Peers, web.Peer{Name: string(l.Node), Role: web.Relay, URL: l.URL, Linked: true, RTTMillis: l.RTT.Seconds() * 1000})
		}
	}
	var viewers map[cdn.StreamID]int
	if n.view != nil {
		viewers = n.view.Stats().Viewers
	}
	for _, s := range st.Streams {
		one := web.Stream{ID: string(s.Stream), Since: s.Started, State: "waiting", Source: "published here", Viewers: viewers[s.Stream]}
		if len(s.Path) > 0 {
			one.Source = "from " + string(s.Path[len(s.Path)-1])
		}
		if s.Live {
			one.State = "live"
		}
		for _, t := range s.Tracks {
			track := web.Track{Kind: t.Info.Kind.String(), Codec: t.Info.Codec.MimeType}
			for _, l := range t.Layers {
				track.Layers = append(track.Layers, web.Layer{
					Name: l.Name, Bitrate: int64(l.Bitrate), Packets: l.Packets, Keyframes: l.Keyframes, Lost: l.Lost,
				})
			}
			one.Tracks = append(one.Tracks, track)
		}
		out.Streams = append(out.Streams, one)
	}
	return out
}
