package edge_test

import (
	"fmt"
	"time"

	"github.com/deltacdn/delta/edge"
)

// stable is a policy for viewers who mind changes more than a lower picture: after a congestion
// it wants nothing more for a minute. What fits meanwhile is the edge's business.
type stable struct{ until time.Time }

func (s *stable) Choose(v edge.View) edge.Choice {
	if v.Congested {
		s.until = v.Now.Add(time.Minute)
	}
	if v.Now.Before(s.until) {
		return edge.Choice{Most: v.Current}
	}
	return edge.Choice{Most: len(v.Options) - 1}
}

// A policy of one's own. The edge's Config.Adapt returns this Adapt for its streams.
func ExamplePolicy() {
	adapt := edge.Adapt{Policy: func() edge.Policy { return new(stable) }}
	policy, now := adapt.Policy(), time.Now()
	options := []edge.Option{{Mode: edge.ModePaused}, {Layer: "l", Mode: edge.ModeFull}, {Layer: "h", Mode: edge.ModeFull}}
	for _, second := range []int{0, 10, 30, 75} {
		v := edge.View{Now: now.Add(time.Duration(second) * time.Second), Options: options, Current: 1, Congested: second == 10}
		fmt.Println(second, options[policy.Choose(v).Most].Layer)
	}
	// Output:
	// 0 h
	// 10 l
	// 30 l
	// 75 h
}
