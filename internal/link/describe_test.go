package link

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/link/control"
)

// What another node says of a layer's cost is taken if it can be true. An older node says
// nothing.
func TestCostsOfAnotherNode(t *testing.T) {
	for _, tc := range []struct {
		name string
		says control.Layer
		want cdn.LayerCost
	}{
		{"nothing", control.Layer{Bitrate: 1e6}, cdn.LayerCost{}},
		{"all", control.Layer{Cost: 3e5, Temporal: []float64{1e5, 3e5}, Height: 360}, cdn.LayerCost{Bitrate: 3e5, Temporal: []float64{1e5, 3e5}, Height: 360}},
		{"temporal layers that fall", control.Layer{Cost: 1e5, Temporal: []float64{3e5, 1e5}}, cdn.LayerCost{Bitrate: 1e5}},
		{"temporal layers that cost more than all", control.Layer{Cost: 1e5, Temporal: []float64{1e5, 3e5}}, cdn.LayerCost{Bitrate: 1e5}},
		{"negative temporal layers", control.Layer{Cost: 1e5, Temporal: []float64{-1, 1e5}}, cdn.LayerCost{Bitrate: 1e5}},
		{"one", control.Layer{Cost: 1e5, Temporal: []float64{1e5}}, cdn.LayerCost{Bitrate: 1e5}},
		{"too many", control.Layer{Cost: 9, Temporal: []float64{1, 2, 3, 4, 5, 6, 7, 8, 9}}, cdn.LayerCost{Bitrate: 9}},
		{"negative", control.Layer{Cost: -1, Height: -1}, cdn.LayerCost{}},
		{"huge", control.Layer{Cost: 1, Height: 1 << 40}, cdn.LayerCost{Bitrate: 1, Height: 1<<16 - 1}},
	} {
		require.Equal(t, tc.want, facts(tc.says).Cost, tc.name)
	}
}
