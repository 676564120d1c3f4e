package cdn

import (
	"slices"
	"time"
)

// clone returns a copy of e that shares no memory with it.
func (e Entry) clone() Entry {
	e.Path = slices.Clone(e.Path)
	e.Tracks = slices.Clone(e.Tracks)
	for i := range e.Tracks {
		t := &e.Tracks[i]
		t.Layers = slices.Clone(t.Layers)
		t.Extensions = slices.Clone(t.Extensions)
	}
	return e
}

// Place returns what tells apart the places at which entries are asked: the URL, and
// the address where there is one. It is for comparing and for logs.
func (e Entry) Place() string {
	if !e.At.IsValid() {
		return e.URL
	}
	return e.URL + " at " + e.At.String()
}

// equal reports whether e and f say the same.
func (e Entry) equal(f Entry) bool {
	return e.Stream == f.Stream && e.Node == f.Node && e.URL == f.URL && e.At == f.At &&
		e.Publication == f.Publication && e.Epoch == f.Epoch &&
		e.Hops == f.Hops && e.Latency == f.Latency && e.Load == f.Load &&
		slices.Equal(e.Path, f.Path) &&
		slices.EqualFunc(e.Tracks, f.Tracks, TrackInfo.equal)
}

func (t TrackInfo) equal(u TrackInfo) bool {
	return t.ID == u.ID && t.Kind == u.Kind && t.Codec == u.Codec &&
		slices.Equal(t.Layers, u.Layers) && slices.Equal(t.Extensions, u.Extensions)
}

// clone returns a copy of n that shares no memory with it.
func (n NodeEntry) clone() NodeEntry {
	n.Addrs = slices.Clone(n.Addrs)
	n.Origins = slices.Clone(n.Origins)
	return n
}

// LatencyTo returns how far the node is from an origin, and false if it does not
// say.
func (n NodeEntry) LatencyTo(origin NodeID) (time.Duration, bool) {
	if n.Node == origin && origin != "" {
		return 0, true
	}
	for _, o := range n.Origins {
		if o.Origin == origin {
			return o.Latency, true
		}
	}
	return 0, false
}
