package allot_test

import (
	"fmt"
	"time"

	"github.com/deltacdn/delta/internal/send/allot"
	"github.com/deltacdn/delta/internal/send/bwe"
)

// stable changes once a minute at most, and takes what fits in two thirds of the
// estimate.
type stable struct{ changed time.Time }

func (s *stable) Choose(v allot.View) allot.Choice {
	to := max(v.Ladder.Lowest(), v.Ladder.Fitting(v.State.Bitrate*2/3))
	switch {
	case s.changed.IsZero():
		s.changed = v.Now
		return allot.Choice{Rung: to, Reason: allot.Start}
	case to == v.Rung || v.Now.Sub(s.changed) < time.Minute && v.State.Verdict != bwe.Overuse:
		return allot.Choice{Rung: v.Rung}
	case to < v.Rung:
		s.changed = v.Now
		return allot.Choice{Rung: to, Reason: allot.Congestion}
	}
	s.changed = v.Now
	return allot.Choice{Rung: to, Reason: allot.Room}
}

// A policy of one's own.
func ExamplePolicy() {
	var policy allot.Policy = &stable{}
	layers := []allot.Layer{{Height: 360, Bitrate: 500e3}, {Height: 720, Bitrate: 1500e3}}
	ladder := allot.Build(nil, layers, 50e3, allot.Limits{})
	now, rung := time.Unix(0, 0), 0
	for _, bitrate := range []float64{3e6, 1e6, 3e6} {
		c := policy.Choose(allot.View{Now: now, State: bwe.State{Bitrate: bitrate}, Ladder: ladder, Rung: rung})
		rung, now = c.Rung, now.Add(40*time.Second)
		fmt.Println(layers[ladder[rung].Layer].Height, c.Reason)
	}
	// Output:
	// 720 start
	// 720 stay
	// 720 stay
}
