package edge

import "github.com/deltacdn/delta/internal/send/allot"

// A Strategy weighs the quality of the picture against calm.
type Strategy uint8

// The strategies. All of them send less at once when a viewer's path is congested, and
// more only after a probe has shown that there is room.
const (
	// StrategyDefault begins with the best layer, and then is as StrategyBalanced. On a path
	// that carries that layer, as most do, nothing is better.
	StrategyDefault Strategy = iota
	// StrategyQuality begins with the best layer, and probes early and for little more than
	// what a layer takes.
	StrategyQuality
	// StrategyBalanced begins with the best layer that takes up to 1 Mbit/s.
	StrategyBalanced
	// StrategyCareful begins with the lowest layer, and probes late and for much more than
	// what a layer takes.
	StrategyCareful
)

// Adapt says how a viewer's video is fitted to what its path carries. The path is estimated
// from the viewer's feedback.
type Adapt struct {
	// Strategy is what matters most.
	Strategy Strategy
	// FirstBitrate is what the first layer takes at most, in bits a second with sound and
	// all headers. If zero, it is the strategy's. If negative, the lowest layer is first.
	FirstBitrate int
}

const unlimited = 1e12 // bits a second

// policy returns what makes the policies of viewers.
func (a Adapt) policy() func() allot.Policy {
	c := allot.Config{First: float64(a.FirstBitrate)}
	switch a.Strategy {
	case StrategyQuality:
		c.Strategy = allot.Quality
	case StrategyCareful:
		c.Strategy = allot.Careful
	case StrategyBalanced:
		c.Strategy = allot.Balanced
	case StrategyDefault:
		fallthrough
	default:
		if c.First == 0 {
			c.First = unlimited
		}
	}
	return func() allot.Policy { return allot.NewAdaptive(c) }
}
