package main

import (
	"strings"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/examples/threenode/web"
)

// status is what the node's pages show.
func (n *node) status() web.Status {
	st := n.cdn.Stats()
	n.mu.Lock()
	peers := n.peers
	n.mu.Unlock()
	out := web.Status{
		Node:       web.Node{ID: string(st.Node), Name: n.name, Role: n.role, URL: n.url},
		CanPublish: n.canPublish, CanPlay: n.edge != nil, Peers: peers,
	}
	var viewers edge.Stats
	if n.edge != nil {
		viewers = n.edge.Stats()
	}
	var nodes map[cdn.StreamID]int
	if n.server != nil {
		nodes = n.server.Serving()
	}
	for _, s := range st.Streams {
		ws := n.stream(s, &out.Totals)
		ws.Viewers, ws.Downstreams = viewers.Viewers[s.Stream], nodes[s.Stream]
		out.Streams = append(out.Streams, ws)
		out.Sessions.Viewers += ws.Viewers
		out.Sessions.Links += ws.Downstreams
		if s.Live && len(s.Path) == 0 {
			out.Sessions.Publishers++
		} else if s.Live {
			out.Sessions.Links++
		}
	}
	out.Totals.PacketsOut, out.Totals.BytesOut = viewers.Packets, viewers.Bytes
	out.Totals.BitrateOut = int64(viewers.Bitrate)
	return out
}

func (n *node) stream(s cdn.StreamStats, sum *web.Totals) web.Stream {
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
	for _, t := range s.Tracks {
		_, codec, _ := strings.Cut(t.Info.Codec.MimeType, "/")
		wt := web.Track{Kind: t.Info.Kind.String(), Codec: codec}
		for _, l := range t.Layers {
			wt.Layers = append(wt.Layers, web.Layer{
				Name: l.Name, Bitrate: int64(l.Bitrate), Packets: l.Packets, Keyframes: l.Keyframes, Lost: l.Lost,
			})
			sum.BitrateIn += int64(l.Bitrate)
			sum.PacketsIn += l.Packets
			sum.BytesIn += l.Bytes
		}
		out.Tracks = append(out.Tracks, wt)
	}
	return out
}
