package allot

import "time"

// A Strategy weighs quality against stability.
type Strategy uint8

// The strategies.
const (
	Balanced Strategy = iota // begins in the middle
	Quality                  // begins at the top, and climbs early
	Careful                  // begins at the bottom, and climbs late
)

// Config sets up an [Adaptive].
type Config struct {
	Strategy Strategy
	// First is the bitrate that the first layer costs at most, in bits a second with
	// sound. If zero, it depends on the strategy: Balanced begins with what costs up
	// to 1 Mbit/s, Quality with the best layer, and Careful with the lowest. If negative,
	// it is the lowest layer.
	First float64
}

// temper is what strategies differ in.
type temper struct {
	first float64       // bits a second; 0: the lowest layer
	need  float64       // what a probe must carry, as a multiple of the cost
	hold  time.Duration // the least time between a failure and the next probe
}

func (s Strategy) temper() temper {
	switch s {
	case Quality:
		return temper{first: 1e12, need: 1.10, hold: 2 * time.Second}
	case Careful:
		return temper{first: 0, need: 1.30, hold: 6 * time.Second}
	case Balanced:
	}
	return temper{first: 1e6, need: 1.15, hold: 3 * time.Second}
}
