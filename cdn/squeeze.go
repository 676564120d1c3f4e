package cdn

import "time"

// squeezing is how much faster time runs in what an input brings that takes over
// with a keyframe from before what was last sent, and all that followed that
// keyframe: those who receive the layer decode it and are soon where they were.
// Time must not go back for them, nor stay behind for ever.
const squeezing = 8

// mostSqueezed is how far before what was last sent a keyframe may be.
const mostSqueezed = 13 * time.Second

// squeeze is the stretch of an input's timestamps in which time runs faster. The
// zero value is none.
type squeeze struct {
	from, until uint64 // of the input's timestamps
	as          uint64 // what is sent for from
}

// squeezed returns the stretch that begins with timestamp ts, sent as as, and
// ends where what is sent has come up to ts+shift, which is behind as.
func squeezed(ts, as, shift uint64) squeeze {
	behind := as - (ts + shift)
	return squeeze{from: ts, until: ts + behind + (behind+squeezing-2)/(squeezing-1), as: as}
}

// at returns what is sent for ts, where shift is what is added behind the
// stretch.
func (s squeeze) at(ts, shift uint64) uint64 {
	if s.from == s.until || int64(ts-s.until) >= 0 {
		return ts + shift
	}
	return s.as + uint64(int64(ts-s.from)/squeezing)
}
