package sdp

import (
	"slices"
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/sdp/format"
)

// FEC is what an m-section has of forward error correction, by payload types, 0: none.
type FEC struct {
	RED    uint8 // in which both media and ULPFEC travel (RFC 2198)
	REDRTX uint8 // retransmissions of these
	ULP    uint8 // RFC 5109
	Flex   uint8 // RFC 8627, or a draft of it, as FlexName says
	// FlexName is the encoding name, "flexfec" or "flexfec-03", and FlexFmtp has its
	// parameters.
	FlexName, FlexFmtp string
	FlexFeedback       []string
	// FlexStream: the offer names a stream of FlexFEC (RFC 5956), and does not only say
	// that there could be one.
	FlexStream bool
}

// FlexFEC03 is the encoding name of the draft that libwebrtc implements.
const FlexFEC03 = "flexfec-03"

// parseFEC reads the formats of a video section that are of forward error correction. The
// first of each kind counts.
func parseFEC(section *sdp.MediaDescription, lines *formatLines) (f FEC) {
	rtx := map[string]uint8{}
	for _, number := range section.MediaName.Formats {
		pt, ok := payloadType(number)
		c, err := parseRtpmap(lines.rtpmap[pt], cdn.Video)
		if !ok || err != nil || pt >= 64 && pt < 96 || c.ClockRate != videoRate {
			continue
		}
		switch name := strings.ToLower(strings.TrimPrefix(c.MimeType, "video/")); {
		case name == "red" && f.RED == 0:
			f.RED = pt
		case name == "ulpfec" && f.ULP == 0:
			f.ULP = pt
		case name == "rtx":
			rtx[format.Parameter(lines.fmtp[pt], "apt")] = pt
		case (name == "flexfec" || name == FlexFEC03) && f.Flex == 0:
			f.Flex, f.FlexName, f.FlexFmtp, f.FlexFeedback = pt, name, lines.fmtp[pt], lines.feedbackOf(pt)
		}
	}
	f.REDRTX = rtx[strconv.Itoa(int(f.RED))]
	f.FlexStream = slices.ContainsFunc(values(section.Attributes, "ssrc-group"), func(group string) bool {
		return strings.HasPrefix(group, "FEC-FR ")
	})
	return f
}

// videoRate is the clock rate of all video that is protected, in ticks a second.
const videoRate = 90000

func (f FEC) types() [4]uint8 { return [4]uint8{f.RED, f.REDRTX, f.ULP, f.Flex} }

// dropAmbiguousFEC forgets the correction of m-sections of which a payload type is something
// else in another one, as GStreamer offers it at times: if it were taken, packets of either
// could not be matched.
func (o *Offer) dropAmbiguousFEC() {
	var ambiguous []*Media
	for _, m := range o.Media {
		if slices.ContainsFunc(o.Media, func(other *Media) bool { return other != m && other.usesOtherwise(m.FEC) }) {
			ambiguous = append(ambiguous, m)
		}
	}
	for _, m := range ambiguous {
		m.FEC = FEC{}
	}
}

// usesOtherwise reports whether a payload type of f is another format here.
func (m *Media) usesOtherwise(f FEC) bool {
	for i, pt := range f.types() {
		if pt == 0 {
			continue
		}
		if slices.ContainsFunc(m.Codecs, func(c Codec) bool { return pt == c.PT || pt == c.RTX || pt == c.RED }) {
			return true
		}
		for j, other := range m.FEC.types() {
			if other == pt && i != j {
				return true
			}
		}
	}
	return false
}

// Any reports whether there is a format of correction.
func (f FEC) Any() bool { return f.ULP != 0 && f.RED != 0 || f.Flex != 0 }

// Repair returns the one kind of correction that is asked of the sender: FlexFEC where the
// offer names a stream of it, or nothing else; else ULPFEC, which travels in RED alone.
func (f FEC) Repair() FEC {
	ulp := f.ULP != 0 && f.RED != 0
	switch {
	case f.Flex != 0 && (f.FlexStream || !ulp):
		f.RED, f.REDRTX, f.ULP = 0, 0, 0
		return f
	case ulp:
		return FEC{RED: f.RED, REDRTX: f.REDRTX, ULP: f.ULP}
	}
	return FEC{}
}
