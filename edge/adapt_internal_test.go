package edge

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/signal"
)

// A viewer may be calmer than the edge, and begin with less, but not the reverse.
func TestWhatViewersAskForIsBounded(t *testing.T) {
	for _, c := range []struct {
		name  string
		edge  Adapt
		asked signal.Adapt
		want  Adapt
	}{
		{"nothing", Adapt{Strategy: StrategyCareful, FirstBitrate: 7}, signal.Adapt{}, Adapt{Strategy: StrategyCareful, FirstBitrate: 7}},
		{"any of an edge that says nothing", Adapt{}, signal.Adapt{Strategy: "quality", FirstBitrate: 9_000_000}, Adapt{Strategy: StrategyQuality, FirstBitrate: 9_000_000}},
		{"careful", Adapt{}, signal.Adapt{Strategy: "careful"}, Adapt{Strategy: StrategyCareful}},
		{"calmer", Adapt{Strategy: StrategyQuality}, signal.Adapt{Strategy: "balanced"}, Adapt{Strategy: StrategyBalanced}},
		{"less stable", Adapt{Strategy: StrategyCareful}, signal.Adapt{Strategy: "quality"}, Adapt{Strategy: StrategyCareful}},
		{"less at first", Adapt{FirstBitrate: 800_000}, signal.Adapt{FirstBitrate: 300_000}, Adapt{FirstBitrate: 300_000}},
		{"more at first", Adapt{FirstBitrate: 800_000}, signal.Adapt{FirstBitrate: 900_000}, Adapt{FirstBitrate: 800_000}},
		{"the lowest first", Adapt{FirstBitrate: 800_000}, signal.Adapt{FirstBitrate: -1}, Adapt{FirstBitrate: -1}},
		{"more than the strategy's", Adapt{Strategy: StrategyBalanced}, signal.Adapt{FirstBitrate: 3_000_000}, Adapt{Strategy: StrategyBalanced, FirstBitrate: 1_000_000}},
		{"calmer than the edge's first", Adapt{Strategy: StrategyQuality, FirstBitrate: 3_000_000}, signal.Adapt{Strategy: "careful"}, Adapt{Strategy: StrategyCareful, FirstBitrate: -1}},
		{"more than the lowest", Adapt{Strategy: StrategyCareful}, signal.Adapt{FirstBitrate: 3_000_000}, Adapt{Strategy: StrategyCareful, FirstBitrate: -1}},
		{"a lower picture", Adapt{MaxHeight: 720}, signal.Adapt{MaxHeight: 360}, Adapt{MaxHeight: 360}},
		{"a higher picture", Adapt{MaxHeight: 720}, signal.Adapt{MaxHeight: 1080}, Adapt{MaxHeight: 720}},
		{"a picture of any height", Adapt{MaxHeight: 720}, signal.Adapt{}, Adapt{MaxHeight: 720}},
		{"a height where any may be", Adapt{}, signal.Adapt{MaxHeight: 360}, Adapt{MaxHeight: 360}},
	} {
		require.Equal(t, c.want, c.edge.asked(c.asked), c.name)
	}
}
