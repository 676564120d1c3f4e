package edge_test

import (
	"fmt"
	"slices"
	"time"

	"github.com/deltacdn/delta/edge"
)

// A climber is a policy in place of the edge's: down to what the estimate carries, and up one
// option at a time, once a probe has found room for it. It asks for a probe ten seconds after a
// step, or half a minute after a congestion.
type climber struct{ next time.Time }

func (c *climber) Choose(v edge.View) edge.Choice {
	fits := 0
	for i, o := range v.Options {
		if o.Bitrate <= v.Estimate {
			fits = i
		}
	}
	wait, choice := 10*time.Second, edge.Choice{Send: v.Current}
	switch {
	case c.next.IsZero(): // the first choice
		choice.Send = fits
	case v.Congested:
		wait, choice.Send = 30*time.Second, min(fits, v.Current)
	case v.Room > v.Current:
		choice.Send++
	case v.Now.After(c.next):
		choice.Probe = v.Current + 1
	default:
		return choice
	}
	c.next = v.Now.Add(wait)
	return choice
}

// A policy of one's own that replaces the edge's. The edge's Config.Adapt returns this Adapt for
// its streams.
func ExamplePolicy() {
	adapt := edge.Adapt{Policy: func() edge.Policy { return new(climber) }}
	policy, now := adapt.Policy(), time.Now()
	options := []edge.Option{{Mode: edge.ModePaused}, {Layer: "l", Bitrate: 200e3}, {Layer: "m", Bitrate: 550e3}, {Layer: "h", Bitrate: 1650e3}}
	for _, v := range []edge.View{
		{Estimate: 1_000_000},
		{Estimate: 1_100_000, Current: 2, Room: 2, Now: now.Add(15 * time.Second)},
		{Estimate: 1_900_000, Current: 2, Room: 3, Now: now.Add(16 * time.Second)},
		{Estimate: 400_000, Current: 3, Room: 3, Now: now.Add(60 * time.Second), Congested: true},
	} {
		v.Options = options
		if v.Now.IsZero() {
			v.Now = now
		}
		c := policy.Choose(v)
		fmt.Printf("send %q, probe for %q\n", options[c.Send].Layer, options[c.Probe].Layer)
	}
	// Output:
	// send "m", probe for ""
	// send "m", probe for "h"
	// send "h", probe for ""
	// send "l", probe for ""
}

// stable is a policy for viewers who mind changes more than a lower picture: for a minute after a
// congestion it wants nothing more than is sent. Meanwhile the edge chooses what fits.
type stable struct{ until time.Time }

func (s *stable) Choose(v edge.View) edge.Choice {
	if v.Congested {
		s.until = v.Now.Add(time.Minute)
	}
	if v.Now.Before(s.until) {
		lowest := slices.IndexFunc(v.Options, func(o edge.Option) bool { return o.Mode == edge.ModeFull })
		return edge.Within(0, max(v.Current, lowest)) // the lowest layer comes again as soon as it can
	}
	return edge.Within(0, len(v.Options)-1)
}

// A policy that bounds what the edge chooses. The edge still goes lower by itself when the path
// is congested, and probes before each step up.
func ExampleWithin() {
	adapt := edge.Adapt{Policy: func() edge.Policy { return new(stable) }}
	policy, now := adapt.Policy(), time.Now()
	options := []edge.Option{{Mode: edge.ModePaused}, {Layer: "l", Mode: edge.ModeFull}, {Layer: "h", Mode: edge.ModeFull}}
	for _, second := range []int{0, 10, 30, 75} {
		v := edge.View{Now: now.Add(time.Duration(second) * time.Second), Options: options, Current: 1, Congested: second == 10}
		fmt.Println(second, policy.Choose(v) == edge.Within(0, 2))
	}
	// Output:
	// 0 true
	// 10 false
	// 30 false
	// 75 true
}
