package send

import (
	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/send/allot"
)

// costsOf appends to all[:0] what a track's layers cost, for a policy, and to layers[:0] the
// layers themselves, in the same order: the lowest first, as [ranked] has them. A layer that
// nobody wants at present costs what the node that sends it says, and one that does not come
// at all costs nothing: nobody can be sent it.
func costsOf(t *cdn.Track, all []allot.Layer, layers []*cdn.Layer) ([]allot.Layer, []*cdn.Layer) {
	all, layers = all[:0], append(layers[:0], ranked(t)...)
	for _, l := range layers {
		c := l.Cost()
		all = append(all, allot.Layer{Height: c.Height, Bitrate: c.Bitrate, Temporal: c.Temporal})
	}
	return all, layers
}
