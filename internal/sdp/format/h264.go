package format

import (
	"math/bits"
	"strconv"
)

// The profiles of H.264 that are told apart (H.264 annex A.2, RFC 6184 table 5).
type h264Profile int

const (
	h264Constrained h264Profile = iota // Constrained Baseline
	h264Baseline
	h264Extended
	h264Main
	h264ConstrainedHigh
	h264ProgressiveHigh
	h264High
	h264High10Intra
	h264High10
	h264High422Intra
	h264High422
	h264High444Intra
	h264CAVLC444
	h264High444
	h264Other
)

// h264Decodes says which profiles a decoder of one takes, as bits. Baseline has
// tools that Main and High have not (FMO, ASO), so those do not contain it.
var h264Decodes = func() (all [h264Other]uint) {
	set := func(decoder h264Profile, more ...h264Profile) {
		all[decoder] |= 1 << decoder
		for _, p := range more {
			all[decoder] |= all[p]
		}
	}
	set(h264Constrained)
	set(h264Baseline, h264Constrained)
	set(h264Extended, h264Baseline)
	set(h264Main, h264Constrained)
	set(h264ConstrainedHigh, h264Constrained)
	set(h264ProgressiveHigh, h264ConstrainedHigh)
	set(h264High, h264Main, h264ProgressiveHigh)
	set(h264High10Intra)
	set(h264High10, h264High, h264High10Intra)
	set(h264High422Intra, h264High10Intra)
	set(h264High422, h264High10, h264High422Intra)
	set(h264CAVLC444)
	set(h264High444Intra, h264High422Intra, h264CAVLC444)
	set(h264High444, h264High422, h264High444Intra)
	return all
}()

// An h264 is what a profile-level-id says.
type h264 struct {
	profile h264Profile
	idc     byte // of h264Other
	level   byte
	absent  bool // there is none that can be read
}

// readH264 reads a profile-level-id. Constraint flags matter as far as they turn
// one profile into another. A sender that names none is taken to send what every
// decoder has.
func readH264(id string) h264 {
	n, err := strconv.ParseUint(id, 16, 32)
	if err != nil || len(id) != 6 {
		return h264{absent: true}
	}
	idc, flags, level := byte(n>>16), byte(n>>8), byte(n)
	set := func(i int) bool { return flags>>(7-i)&1 != 0 } // constraint_set0_flag, …
	either := func(yes bool, a, b h264Profile) h264 {
		if yes {
			return h264{profile: a, level: level}
		}
		return h264{profile: b, level: level}
	}
	switch {
	case idc == 66, idc == 88 && set(0):
		return either(set(1), h264Constrained, h264Baseline)
	case idc == 77:
		return either(set(0), h264Constrained, h264Main)
	case idc == 88:
		return either(set(1), h264Main, h264Extended)
	case idc == 100 && set(4):
		return either(set(5), h264ConstrainedHigh, h264ProgressiveHigh)
	case idc == 100:
		return h264{profile: h264High, level: level}
	case idc == 110:
		return either(set(3), h264High10Intra, h264High10)
	case idc == 122:
		return either(set(3), h264High422Intra, h264High422)
	case idc == 244:
		return either(set(3), h264High444Intra, h264High444)
	case idc == 44:
		return h264{profile: h264CAVLC444, level: level}
	}
	return h264{profile: h264Other, idc: idc, level: level}
}

// takes reports whether a decoder of h takes what is sent, and how many more
// profiles it takes than one of that would. One that is not known here contains
// nothing but itself.
func (h h264) takes(sent h264) (more int, ok bool) {
	if h.profile == h264Other || sent.profile == h264Other {
		return 0, h.profile == sent.profile && h.idc == sent.idc
	}
	decodes := h264Decodes[h.profile]
	return bits.OnesCount(decodes) - bits.OnesCount(h264Decodes[sent.profile]), decodes>>sent.profile&1 != 0
}
