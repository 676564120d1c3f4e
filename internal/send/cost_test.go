package send

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/send/allot"
	"github.com/deltacdn/delta/internal/send/sendtest"
)

// costsOf appends to all[:0] what a track's layers cost, and to layers[:0] the layers
// themselves, the lowest first.
func costsOf(t *cdn.Track, all []allot.Layer, layers []*cdn.Layer) ([]allot.Layer, []*cdn.Layer) {
	all, layers = all[:0], append(layers[:0], ranked(t)...)
	for _, l := range layers {
		c := l.Cost()
		all = append(all, allot.Layer{Height: c.Height, Bitrate: c.Bitrate, Temporal: c.Temporal})
	}
	return all, layers
}

// The lowest layer comes first, however the publisher has declared them. What no longer comes
// costs nothing, so that it is no rung.
func TestCostsOfATrack(t *testing.T) {
	withViewer(t, sendtest.Config{Track: sendtest.VP8("h", "l")}, func(v *viewer) {
		e := [2]*encoder{{viewer: v}, {viewer: v, seq: 7000}}
		play := func(n int, layers ...int) {
			for range n {
				for _, i := range layers {
					v.layer = v.Layers[i]
					f := e[i].encode(len(e[i].frames)%48 == 0)
					for at := range f.packets {
						for range 2 - i { // the first layer has more
							e[i].publish(f, at)
							e[i].seq += uint16(f.packets)
							f.seq += uint16(f.packets)
						}
					}
				}
				time.Sleep(33 * ms)
			}
		}
		play(200, 0, 1)
		all, layers := costsOf(v.Track, nil, nil)
		require.Equal(t, []*cdn.Layer{v.Layers[1].Layer, v.Layers[0].Layer}, layers)
		for i, l := range all {
			require.Len(t, l.Temporal, 3)
			require.Equal(t, l.Bitrate, l.Temporal[2])
			require.InDelta(t, 0.5, l.Temporal[1]/l.Bitrate, 0.2, "layer %d", i)
		}
		require.Greater(t, all[1].Bitrate, 1.5*all[0].Bitrate)
		ladder := allot.Build(nil, all, 50e3, allot.Limits{})
		require.Len(t, ladder, 6, "paused, keyframes, two and three temporal layers, and the high layer")

		play(100, 1)
		all, layers = costsOf(v.Track, all, layers)
		require.Len(t, layers, 2)
		for i, l := range layers {
			require.Equal(t, l == v.Layers[0].Layer, all[i].Bitrate == 0)
		}
	})
}
