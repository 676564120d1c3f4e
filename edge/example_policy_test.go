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

// thrifty is a policy that chooses by the estimate: the highest option that takes at most 70 %
// of it, so that a part of the path stays free for others.
type thrifty struct{}

func (thrifty) Choose(v edge.View) edge.Choice {
	fits := 0
	for i, o := range v.Options {
		if o.Bitrate <= v.Estimate*7/10 {
			fits = i
		}
	}
	switch {
	case fits >= v.Current && !v.Silent: // the edge probes for the next one: the estimate does not show that it fits
		return edge.Choice{Most: max(fits, v.Current+1)}
	case v.Congested:
		return edge.Choice{Most: fits}
	}
	return edge.Choice{Most: v.Current}
}

// A policy that follows the estimate. It bounds what the edge chooses: the edge still probes
// ahead of each step up, and goes lower by itself when the path is congested.
func ExamplePolicy_byEstimate() {
	adapt := edge.Adapt{Policy: func() edge.Policy { return thrifty{} }}
	policy, current := adapt.Policy(), 0
	options := []edge.Option{{Mode: edge.ModePaused}, {Layer: "l", Bitrate: 200e3}, {Layer: "m", Bitrate: 550e3}, {Layer: "h", Bitrate: 1650e3}}
	for _, estimate := range []int{3_000_000, 1_700_000, 500_000, 900_000} {
		v := edge.View{Options: options, Current: current, Estimate: estimate, Congested: estimate < options[current].Bitrate}
		current = min(policy.Choose(v).Most, len(options)-1)
		fmt.Println(estimate, options[current].Layer)
	}
	// Output:
	// 3000000 h
	// 1700000 h
	// 500000 l
	// 900000 m
}
