package sdp

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"

	"github.com/deltacdn/delta/cdn"
)

// auxiliary are the formats that carry no media of their own.
var auxiliary = []string{"rtx", "red", "ulpfec", "flexfec", "flexfec-03", "cn", "telephone-event"}

// static are the payload types that need no a=rtpmap (RFC 3551 section 6).
var static = map[uint8]cdn.Codec{
	0: {MimeType: "audio/PCMU", ClockRate: 8000},
	8: {MimeType: "audio/PCMA", ClockRate: 8000},
	9: {MimeType: "audio/G722", ClockRate: 8000},
}

func parseCodecs(section *sdp.MediaDescription, kind cdn.Kind) ([]Codec, error) {
	maps, fmtps, feedback := formatAttributes(section)
	rtx := map[uint8]uint8{} // by the payload type that it repairs
	red := map[uint8]redundancy{}
	var all []Codec
	for _, format := range section.MediaName.Formats {
		pt, err := strconv.ParseUint(format, 10, 7)
		if err != nil || len(format) > 1 && format[0] == '0' { // other lines would name another one
			return nil, fmt.Errorf("payload type %q", format)
		}
		c := Codec{PT: uint8(pt), Codec: static[uint8(pt)]}
		if m, ok := maps[format]; ok {
			if c.Codec, err = parseRtpmap(m, kind); err != nil {
				return nil, err
			}
		}
		c.Fmtp = fmtps[format]
		c.Feedback = append(slices.Clone(feedback[format]), feedback["*"]...)
		name := strings.ToLower(c.MimeType[strings.IndexByte(c.MimeType, '/')+1:])
		switch {
		case pt >= 64 && pt < 96: // with the marker bit it looks like RTCP (RFC 5761 section 4)
		case name == "rtx":
			if apt, err := strconv.ParseUint(parameter(c.Fmtp, "apt"), 10, 7); err == nil {
				rtx[uint8(apt)] = c.PT
			}
		case name == "red" && kind == cdn.Audio:
			if of, ok := redundant(c.Fmtp); ok && red[of].pt == 0 {
				red[of] = redundancy{pt: c.PT, rate: c.ClockRate, first: !slices.ContainsFunc(all, func(o Codec) bool { return o.PT == of })}
			}
		case name == "" || slices.Contains(auxiliary, name):
		default:
			all = append(all, c)
		}
	}
	for i := range all {
		c := &all[i]
		c.RTX = rtx[c.PT]
		if r := red[c.PT]; r.rate == c.ClockRate {
			c.RED, c.PrefersRED = r.pt, r.first
		}
	}
	return all, nil
}

// A redundancy is a format by which a codec can travel with redundancy.
type redundancy struct {
	pt    uint8
	rate  uint32
	first bool // it stands ahead of the codec
}

// redundant returns the payload type of which all blocks are, by the a=fmtp of RED, such
// as "111/111" (RFC 2198 section 5).
func redundant(fmtp string) (of uint8, ok bool) {
	for i, one := range strings.Split(fmtp, "/") {
		pt, err := strconv.ParseUint(strings.TrimSpace(one), 10, 7)
		if err != nil || i > 0 && uint8(pt) != of {
			return 0, false
		}
		of, ok = uint8(pt), i > 0
	}
	return of, ok
}

// formatAttributes collects a=rtpmap, a=fmtp and a=rtcp-fb by payload type.
func formatAttributes(section *sdp.MediaDescription) (maps, fmtps map[string]string, feedback map[string][]string) {
	maps, fmtps, feedback = map[string]string{}, map[string]string{}, map[string][]string{}
	for _, a := range section.Attributes {
		pt, value, _ := strings.Cut(a.Value, " ")
		switch a.Key {
		case "rtpmap":
			maps[pt] = value
		case "fmtp":
			fmtps[pt] = strings.TrimSpace(value)
		case "rtcp-fb":
			feedback[pt] = append(feedback[pt], strings.TrimSpace(value))
		}
	}
	return maps, fmtps, feedback
}

// parseRtpmap reads "opus/48000/2".
func parseRtpmap(value string, kind cdn.Kind) (cdn.Codec, error) {
	parts := strings.Split(strings.TrimSpace(value), "/")
	if len(parts) < 2 || parts[0] == "" {
		return cdn.Codec{}, fmt.Errorf("rtpmap %q", value)
	}
	rate, err := strconv.ParseUint(parts[1], 10, 32)
	if err != nil || rate == 0 {
		return cdn.Codec{}, fmt.Errorf("rtpmap %q", value)
	}
	c := cdn.Codec{MimeType: kind.String() + "/" + parts[0], ClockRate: uint32(rate)}
	if kind == cdn.Audio {
		if len(parts) > 2 {
			n, err := strconv.ParseUint(parts[2], 10, 8)
			if err != nil || n == 0 {
				return cdn.Codec{}, fmt.Errorf("rtpmap %q", value)
			}
			c.Channels = uint16(n)
		}
	}
	return c, nil
}

// parameter returns the value of one parameter of an a=fmtp line.
func parameter(fmtp, name string) string {
	for one := range strings.SplitSeq(fmtp, ";") {
		if k, v, ok := strings.Cut(strings.TrimSpace(one), "="); ok && strings.EqualFold(k, name) {
			return v
		}
	}
	return ""
}
