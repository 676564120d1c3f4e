package route

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
)

func TestChooseSibling(t *testing.T) {
	own := cdn.NodeEntry{Node: "me", Group: "eu"}
	edge := func(id cdn.NodeID, group string, rtt time.Duration, load float64) Sibling {
		return Sibling{Node: cdn.NodeEntry{Node: id, Group: group, Load: load}, RTT: rtt}
	}
	leaving := edge("l", "eu", 2*ms, 0)
	leaving.Node.Draining = true
	for name, tc := range map[string]struct {
		all  []Sibling
		want cdn.NodeID
	}{
		"none":                  {nil, ""},
		"only itself":           {[]Sibling{edge("me", "eu", 0, 0)}, ""},
		"all are full":          {[]Sibling{edge("a", "eu", 2*ms, 1), leaving}, ""},
		"the nearest":           {[]Sibling{edge("far", "eu", 40*ms, 0), edge("near", "eu", 4*ms, 0)}, "near"},
		"of its group, if far":  {[]Sibling{edge("b", "eu", 40*ms, 0.5), edge("a", "us", 4*ms, 0)}, "b"},
		"another group's, else": {[]Sibling{edge("b", "eu", 4*ms, 1), edge("a", "us", 90*ms, 0)}, "a"},
		"the one with room":     {[]Sibling{edge("a", "eu", 4*ms, 0.95), edge("b", "eu", 8*ms, 0.1)}, "b"},
	} {
		t.Run(name, func(t *testing.T) {
			got, ok := ChooseSibling(own, "live", tc.all)
			require.Equal(t, tc.want != "", ok)
			require.Equal(t, tc.want, got.Node.Node)
		})
	}
	got, _ := ChooseSibling(own, "live", []Sibling{edge("a", "eu", 4*ms, 0.5)})
	require.Equal(t, "a is of the same group, 4ms away, its load is 0.50", got.Why(own))
}
