package format

import "strings"

// Ingest returns the index of the format that is best taken from a publisher who
// offers several: the one that most viewers can decode. For video those are H.264
// Constrained Baseline and VP8 (RFC 7742 section 5), in the publisher's order;
// then come other H.264, VP9, AV1, H.265, and the rest. For audio it is Opus (RFC
// 7874 section 3), and then the publisher's first. It is -1 if nothing is
// offered.
func Ingest(offered []Format) int {
	best := -1
	for i, f := range offered {
		if best < 0 || f.rank() < offered[best].rank() {
			best = i
		}
	}
	return best
}

// rank is how far back a format stands: formats of one rank are taken in the
// publisher's order.
func (f Format) rank() int {
	p := parameters(f.Fmtp)
	common := func(yes bool) int { // profiles that few decoders have stand behind
		if yes {
			return 0
		}
		return 1
	}
	switch strings.ToLower(f.MimeType) {
	case "audio/opus", "video/vp8":
		return 0
	case "video/h264":
		profile := readH264(p["profile-level-id"]).profile
		if profile == h264Constrained {
			return 0
		}
		return 2 + common(profile <= h264High)
	case "video/vp9":
		return 4 + common(same(p, nil, "profile-id", "0"))
	case "video/av1":
		return 6 + common(same(p, nil, "profile", "0"))
	case "video/h265":
		return 8 + common(same(p, nil, "profile-id", "1"))
	}
	return 10
}
