// Package console makes what the pages of a node show of what runs on it.
package console

import (
	"cmp"
	"strings"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/internal/demo/web"
	"github.com/deltacdn/delta/relay"
)

// A Node is a node with the services on it, for its pages.
type Node struct {
	CDN        *cdn.Node
	Name, URL  string
	Role       web.Role
	CanPublish bool
	CanKill    bool
	Network    web.Audience // who is shown the whole network

	Up     *relay.Relay  // nil: it fetches from no other
	Server *relay.Server // nil: it serves no nodes
	Edge   *edge.Edge    // nil: it serves no viewers
	Peers  []web.Peer    // the other nodes, known by name or URL
}

// addLinks adds the links that are up, and tells the peers at their other ends
// so. Nodes have their names for identities.
func (n Node) addLinks(out *web.Status) {
	for _, l := range relay.Links(n.CDN) {
		wl := web.Link{
			Peer: string(l.Node), URL: l.URL, Up: l.Up, RTTMillis: l.RTT.Seconds() * 1000, Loss: l.Loss,
			BitrateIn: int64(l.BitrateIn), BitrateOut: int64(l.BitrateOut), BytesIn: l.Received, BytesOut: l.Sent,
			Fetched: names(l.Fetched), Served: names(l.Served),
		}
		out.Links = append(out.Links, wl)
		out.Totals.BitrateOut += wl.BitrateOut
		for k := range out.Peers {
			if p := &out.Peers[k]; p.Name == wl.Peer {
				p.Linked, p.RTTMillis = true, wl.RTTMillis
			}
		}
	}
	out.Sessions.Links = len(out.Links)
}

// addFetches adds where the streams come from that other nodes have.
func (n Node) addFetches(out *web.Status) {
	if n.Up == nil {
		return
	}
	name := func(url string) string {
		for _, p := range out.Peers {
			if p.URL == url {
				return p.Name
			}
		}
		return ""
	}
	for _, f := range n.Up.Stats() {
		out.Fetches = append(out.Fetches, web.Fetch{
			Stream: string(f.Stream), Node: cmp.Or(name(f.URL), string(f.Node)), URL: f.URL,
			Standby: name(f.Standby), StandbyURL: f.Standby, Since: f.Since, Changes: max(0, f.Upstream-1), Wanted: f.Wanted,
		})
	}
}

func names(ids []cdn.StreamID) (all []string) {
	for _, id := range ids {
		all = append(all, string(id))
	}
	return all
}

// Status is what the node's pages show.
func (n Node) Status() web.Status {
	st := n.CDN.Stats()
	out := web.Status{
		Node:       web.Node{ID: string(st.Node), Name: n.Name, Role: n.Role, URL: n.URL, Since: st.Started},
		CanPublish: n.CanPublish, CanPlay: n.Edge != nil, CanKill: n.CanKill, Peers: n.Peers,
		Network: n.Network,
	}
	n.addLinks(&out)
	n.addFetches(&out)
	var viewers edge.Stats
	if n.Edge != nil {
		viewers = n.Edge.Stats()
	}
	var nodes map[cdn.StreamID]int
	if n.Server != nil {
		nodes = n.Server.Serving()
	}
	for _, s := range st.Streams {
		ws := stream(s, &out.Totals)
		ws.Viewers, ws.Downstreams = viewers.Viewers[s.Stream], nodes[s.Stream]
		out.Streams = append(out.Streams, ws)
		out.Sessions.Viewers += ws.Viewers
		if s.Live && len(s.Path) == 0 {
			out.Sessions.Publishers++
		}
	}
	addTotals(&out.Totals, st.Totals)
	out.Totals.BitrateOut += int64(viewers.Bitrate)
	return out
}

// addTotals adds what has come and gone since the node began.
func addTotals(out *web.Totals, t cdn.Totals) {
	for _, x := range []cdn.Traffic{t.Publishers, t.Viewers, t.Links, t.Nodes} {
		out.PacketsIn += x.Received.Packets
		out.BytesIn += x.Received.Bytes
		out.PacketsOut += x.Sent.Packets
		out.BytesOut += x.Sent.Bytes
	}
}

func stream(s cdn.StreamStats, sum *web.Totals) web.Stream {
	out := web.Stream{ID: string(s.Stream), Since: s.Started, State: "waiting", Source: "not there yet"}
	switch {
	case s.Live && len(s.Path) == 0:
		out.Source = "published here"
	case s.Live:
		out.Source = "from " + string(s.Path[len(s.Path)-1])
	}
	if s.Live {
		out.State = "live"
	}
	for _, id := range s.Path {
		out.Path = append(out.Path, string(id))
	}
	for _, d := range s.Delays {
		out.Delays = append(out.Delays, float64(d.Microseconds())/1000)
	}
	if u := s.Uplink; u != nil {
		out.Uplink = &web.Uplink{
			Narrow: u.Narrow, Bitrate: int64(u.Bitrate), Before: int64(u.Before), Loss: u.Loss,
			QueueMillis: float64(u.Queue.Microseconds()) / 1000, Layers: u.Layers, Missing: u.Missing,
		}
	}
	for _, t := range s.Tracks {
		_, codec, _ := strings.Cut(t.Info.Codec.MimeType, "/")
		wt := web.Track{Kind: t.Info.Kind.String(), Codec: codec}
		for _, l := range t.Layers {
			wt.Layers = append(wt.Layers, web.Layer{
				Name: l.Name, Bitrate: int64(l.Bitrate), Packets: l.Packets, Keyframes: l.Keyframes, Lost: l.Lost,
			})
			sum.BitrateIn += int64(l.Bitrate)
		}
		out.Tracks = append(out.Tracks, wt)
	}
	return out
}
