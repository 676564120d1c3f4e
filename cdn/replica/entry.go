package replica

import (
	"slices"

	"github.com/deltacdn/delta/cdn"
)

// cloneEntry returns a copy of e that shares no memory with it.
func cloneEntry(e cdn.Entry) cdn.Entry {
	e.Path = slices.Clone(e.Path)
	e.Tracks = slices.Clone(e.Tracks)
	for i := range e.Tracks {
		t := &e.Tracks[i]
		t.Layers = slices.Clone(t.Layers)
		t.Extensions = slices.Clone(t.Extensions)
	}
	return e
}

// cloneNode returns a copy of n that shares no memory with it.
func cloneNode(n cdn.NodeEntry) cdn.NodeEntry {
	n.Addrs = slices.Clone(n.Addrs)
	n.Origins = slices.Clone(n.Origins)
	return n
}
