package edge

import (
	"fmt"
	"log/slog"
	"math"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/send"
	"github.com/deltacdn/delta/internal/send/allot"
	"github.com/deltacdn/delta/signal"
)

// A Strategy weighs the quality of the picture against its stability.
type Strategy uint8

// The strategies. All of them send less at once when a viewer's path is congested, and
// more only after a probe has shown that there is room. The lowest moving picture comes again
// without a probe if it takes less than 400 kbit/s.
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
// from the viewer's feedback. Where it does not carry the lowest layer, fewer temporal layers of
// that are sent, then keyframes only if one is there within 0.7 s, and in the end sound alone.
// What a viewer asks for ([signal.Adapt]) is bounded by an Adapt: a viewer may have a calmer
// strategy, begin with less, and have a lower picture and a lower bitrate.
type Adapt struct {
	// Strategy is what matters most.
	Strategy Strategy
	// FirstBitrate is what the first layer takes at most, in bits a second with sound and
	// all headers. If zero, it is the strategy's. If negative, the lowest layer is first.
	FirstBitrate int
	// MaxBitrate is what a viewer's video takes at most, in payload bits a second, as
	// [Edge.SetMaxBitrate] has it. If zero, any bitrate.
	MaxBitrate int
	// MaxHeight is the height, in pixels, that the picture of a layer has at most. If zero,
	// any. If those of all layers are higher, the lowest layer is sent. A layer whose height
	// is not known counts as low enough.
	MaxHeight int
	// StartBitrate is what a viewer's path is taken to carry until the viewer has reported,
	// in bits a second, or twice the bitrate of what it is sent if that is more. A large
	// keyframe leaves no faster than that, and later no faster than the estimate, or one and a
	// half times the bitrate of what it is sent if that is more. If zero, 5 Mbit/s, but nothing
	// is held back for a viewer that is near, until its path is found to be narrow. If
	// negative, nothing is held back, now or later.
	//
	// A viewer is near if its round trip is at most a millisecond, or 15 ms if it has a
	// loopback address. A UDP proxy on the node's machine makes viewers from elsewhere look
	// near: set StartBitrate behind one. Viewers that a PeerConnection serves are never near.
	StartBitrate int
	// RepairDelay is how long a player is told at most to hold pictures back (see
	// [PlayoutDelay]) where its path loses packets, so that repairs come in time. It is told
	// the round trip and a little more, and a multiple where much is lost: else browsers that
	// only play leave out most pictures behind a long path. If zero, 500 ms. If negative,
	// players are not told. [Config].Playout bounds what they are told.
	RepairDelay time.Duration
	// Policy makes what decides which of the layers, and how much of them, a viewer is sent.
	// It may be called concurrently, once for each offer, also for one that is refused then. It
	// must not block. If nil, or if it returns nil or panics, which is logged, the edge decides:
	// as much as the path carries. Strategy and FirstBitrate count for the edge's choice, and
	// for [Within]. MaxHeight and what the viewer asks for are bounds of what a policy can
	// choose from.
	Policy func() Policy
}

// startRate returns the rate at which bursts leave at first, in bits a second; negative:
// at once.
func (a Adapt) startRate() float64 {
	if a.StartBitrate == 0 {
		return send.DefaultStartRate
	}
	return float64(a.StartBitrate)
}

// defaultRepairDelay is a round trip of 400 ms, or two of 200.
const defaultRepairDelay = 500 * time.Millisecond

// repairDelay returns how long players are told at most to hold pictures back for repairs;
// 0: they are not told.
func (a Adapt) repairDelay() time.Duration {
	if a.RepairDelay == 0 {
		return defaultRepairDelay
	}
	return max(a.RepairDelay, 0)
}

const unlimited = 1e12 // bits a second

// balancedFirst is what the first layer of StrategyBalanced takes at most, in bits a second.
const balancedFirst = 1_000_000

// first returns what the first layer takes at most, in bits a second.
func (a Adapt) first() int {
	switch {
	case a.FirstBitrate != 0:
		return max(a.FirstBitrate, 0)
	case a.Strategy == StrategyBalanced:
		return balancedFirst
	case a.Strategy == StrategyCareful:
		return 0
	}
	return math.MaxInt // even where that is 2 Gbit/s
}

// strategies are those that a viewer may ask for, by name. The later ones are calmer.
var strategies = map[string]Strategy{"quality": StrategyQuality, "balanced": StrategyBalanced, "careful": StrategyCareful}

// asked returns the Adapt of a viewer that asks for o.
func (a Adapt) asked(o signal.Adapt) Adapt {
	most := a.first()
	if s := strategies[o.Strategy]; s > a.Strategy {
		a.Strategy = s
		if a.FirstBitrate != 0 {
			a.begin(min(Adapt{Strategy: s}.first(), most))
		}
	}
	if o.FirstBitrate != 0 {
		a.begin(min(max(o.FirstBitrate, 0), most))
	}
	if o.MaxHeight > 0 && (a.MaxHeight <= 0 || o.MaxHeight < a.MaxHeight) {
		a.MaxHeight = o.MaxHeight
	}
	return a // what it asks for as its highest bitrate may change later: see playSession.bound
}

// begin sets what the first layer takes at most; 0: the lowest layer is first.
func (a *Adapt) begin(most int) {
	if a.FirstBitrate = most; most == 0 {
		a.FirstBitrate = -1
	}
}

// checkAdapt fails with [cdn.ErrInvalid] for what no viewer can ask for. Signaling by HTTP has
// told the viewer already.
func checkAdapt(o signal.Adapt) error {
	if _, ok := strategies[o.Strategy]; !ok && o.Strategy != "" {
		return fmt.Errorf("%w: strategy %.40q", cdn.ErrInvalid, o.Strategy)
	}
	if o.MaxBitrate < 0 {
		return fmt.Errorf("%w: at most %d bits a second", cdn.ErrInvalid, o.MaxBitrate)
	}
	if o.MaxHeight < 0 {
		return fmt.Errorf("%w: a height of at most %d", cdn.ErrInvalid, o.MaxHeight)
	}
	return nil
}

// policies returns what makes the policies of one viewer.
func (a Adapt) policies(log *slog.Logger) func() allot.Policy {
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
	var own Policy
	if a.Policy != nil {
		own = guarded(log, "Adapt.Policy", a.Policy)
	}
	if own == nil {
		return func() allot.Policy { return allot.NewAdaptive(c) }
	}
	g := &guide{policy: own, log: log}
	return func() allot.Policy { return allot.NewGuided(c, g.decide) }
}
