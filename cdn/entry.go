package cdn

import "slices"

// clone returns a copy of e that shares no memory with it.
func (e Entry) clone() Entry {
	e.Tracks = slices.Clone(e.Tracks)
	for i := range e.Tracks {
		t := &e.Tracks[i]
		t.Layers = slices.Clone(t.Layers)
		t.Extensions = slices.Clone(t.Extensions)
	}
	return e
}

// equal reports whether e and f say the same.
func (e Entry) equal(f Entry) bool {
	return e.Stream == f.Stream && e.Node == f.Node && e.URL == f.URL &&
		e.Publication == f.Publication && e.Epoch == f.Epoch &&
		e.Hops == f.Hops && e.Load == f.Load &&
		slices.EqualFunc(e.Tracks, f.Tracks, TrackInfo.equal)
}

func (t TrackInfo) equal(u TrackInfo) bool {
	return t.ID == u.ID && t.Kind == u.Kind && t.Codec == u.Codec &&
		slices.Equal(t.Layers, u.Layers) && slices.Equal(t.Extensions, u.Extensions)
}
