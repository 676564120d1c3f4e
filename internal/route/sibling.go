package route

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/deltacdn/delta/cdn"
)

// A Sibling is an edge that may serve a viewer instead of this one.
type Sibling struct {
	Node cdn.NodeEntry
	RTT  time.Duration // from this edge; 0: not known
}

// cost says how good a sibling is: how near it is to this edge, and so perhaps to the
// viewer, and how much room it has.
func (s Sibling) cost() time.Duration {
	return oneWay(s.RTT).Round(grain) + time.Duration(s.Node.Load*s.Node.Load*float64(loadCost))
}

// Why says why the sibling was chosen.
func (s Sibling) Why(own cdn.NodeEntry) string {
	where := "elsewhere"
	if s.sameGroup(own) {
		where = "of the same group"
	}
	return fmt.Sprintf("%s is %s, %v away, its load is %.2f", s.Node.Node, where, s.RTT.Round(grain), s.Node.Load)
}

func (s Sibling) sameGroup(own cdn.NodeEntry) bool {
	return own.Group != "" && s.Node.Group == own.Group
}

// ChooseSibling returns the edge that is to serve a viewer of a stream, false if none
// has room. Those that are alike are settled by a hash, so that the viewers of a stream
// stay together.
func ChooseSibling(own cdn.NodeEntry, id cdn.StreamID, all []Sibling) (best Sibling, ok bool) {
	may := slices.DeleteFunc(slices.Clone(all), func(s Sibling) bool {
		return s.Node.Load >= 1 || s.Node.Draining || s.Node.Node == own.Node
	})
	if len(may) == 0 {
		return best, false
	}
	if group := slices.DeleteFunc(slices.Clone(may), func(s Sibling) bool { return !s.sameGroup(own) }); len(group) > 0 {
		may = group
	}
	least := slices.MinFunc(may, func(x, y Sibling) int { return cmp.Compare(x.cost(), y.cost()) }).cost()
	return slices.MinFunc(may, func(x, y Sibling) int {
		alikeX, alikeY := x.cost() <= least+alike, y.cost() <= least+alike
		return cmp.Or(yesFirst(alikeX, alikeY), cmp.Compare(Hash(id, x.Node.Node), Hash(id, y.Node.Node)))
	}), true
}
