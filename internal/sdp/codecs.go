package sdp

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/sdp/format"
)

// auxiliary are the formats that carry no media of their own.
var auxiliary = []string{"rtx", "red", "ulpfec", "flexfec", "flexfec-03", "cn", "telephone-event"}

// static are the payload types that need no a=rtpmap (RFC 3551 section 6).
var static = map[uint8]cdn.Codec{
	0: {MimeType: "audio/PCMU", ClockRate: 8000},
	8: {MimeType: "audio/PCMA", ClockRate: 8000},
	9: {MimeType: "audio/G722", ClockRate: 8000},
}

func parseCodecs(section *sdp.MediaDescription, kind cdn.Kind, lines *formatLines) ([]Codec, error) {
	rtx := map[uint8]uint8{} // by the payload type that it repairs
	red := map[uint8]redundancy{}
	all := make([]Codec, 0, min(len(section.MediaName.Formats), payloadTypes))
	var seen [payloadTypes]bool
	for _, number := range section.MediaName.Formats {
		pt, ok := payloadType(number)
		switch {
		case !ok:
			return nil, fmt.Errorf("payload type %q", number)
		case seen[pt]:
			continue
		}
		seen[pt] = true
		c := Codec{PT: pt, Codec: static[pt]}
		if m := lines.rtpmap[pt]; m != "" {
			var err error
			if c.Codec, err = parseRtpmap(m, kind); err != nil {
				return nil, err
			}
		}
		c.Fmtp = lines.fmtp[pt]
		name := c.MimeType[strings.IndexByte(c.MimeType, '/')+1:]
		switch {
		case pt >= 64 && pt < 96: // with the marker bit it looks like RTCP (RFC 5761 section 4)
		case strings.EqualFold(name, "rtx"):
			if apt, err := strconv.ParseUint(format.Parameter(c.Fmtp, "apt"), 10, 7); err == nil {
				rtx[uint8(apt)] = c.PT
			}
		case strings.EqualFold(name, "red") && kind == cdn.Audio:
			if of, ok := redundant(c.Fmtp); ok && red[of].pt == 0 {
				red[of] = redundancy{pt: c.PT, rate: c.ClockRate, first: !slices.ContainsFunc(all, func(o Codec) bool { return o.PT == of })}
			}
		case name == "" || isAuxiliary(name):
		default:
			all = append(all, c)
		}
	}
	for i := range all {
		c := &all[i]
		c.Feedback = lines.feedbackOf(c.PT)
		c.RTX = rtx[c.PT]
		if r := red[c.PT]; r.rate == c.ClockRate {
			c.RED, c.PrefersRED = r.pt, r.first
		}
	}
	return all, nil
}

// isAuxiliary reports whether a format of that encoding name carries no media of its own.
func isAuxiliary(name string) bool {
	return slices.ContainsFunc(auxiliary, func(one string) bool { return strings.EqualFold(one, name) })
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

// payloadTypes is how many payload types there are.
const payloadTypes = 128

// formatLines are the a=rtpmap, a=fmtp and a=rtcp-fb lines of an m-section, by payload type.
type formatLines struct {
	rtpmap, fmtp [payloadTypes]string
	feedback     []feedbackLine
}

type feedbackLine struct {
	of    uint8 // payload type, or anyFormat
	value string
}

const anyFormat = 0xff // as in "a=rtcp-fb:* nack"

func (l *formatLines) read(section *sdp.MediaDescription) {
	for _, a := range section.Attributes {
		if a.Key != "rtpmap" && a.Key != "fmtp" && a.Key != "rtcp-fb" {
			continue
		}
		format, value, _ := strings.Cut(a.Value, " ")
		pt, ok := payloadType(format)
		switch {
		case a.Key == "rtcp-fb" && format == "*":
			l.feedback = append(l.feedback, feedbackLine{anyFormat, strings.TrimSpace(value)})
		case !ok:
		case a.Key == "rtpmap":
			l.rtpmap[pt] = value
		case a.Key == "fmtp":
			l.addParameters(pt, strings.TrimSpace(value))
		default:
			l.feedback = append(l.feedback, feedbackLine{pt, strings.TrimSpace(value)})
		}
	}
}

// longestParameters bounds the parameters of a format that several lines have, in bytes.
const longestParameters = 8 << 10

// addParameters adds those of one more line: some write a line for each parameter.
func (l *formatLines) addParameters(pt uint8, value string) {
	have := l.fmtp[pt]
	switch {
	case have == "":
		l.fmtp[pt] = value
	case have != value && len(have)+len(value) < longestParameters:
		l.fmtp[pt] = have + ";" + value
	}
}

// feedbackOf returns what the lines say of a payload type, and then what they say of all.
func (l *formatLines) feedbackOf(pt uint8) []string {
	n := 0
	for _, line := range l.feedback {
		if line.of == pt || line.of == anyFormat {
			n++
		}
	}
	if n == 0 {
		return nil
	}
	all := make([]string, 0, n)
	for _, of := range [...]uint8{pt, anyFormat} {
		for _, line := range l.feedback {
			if line.of == of {
				all = append(all, line.value)
			}
		}
	}
	return all
}

// payloadType reads a payload type. It has to be written in the one way in which other lines
// name it.
func payloadType(format string) (pt uint8, ok bool) {
	n, err := strconv.ParseUint(format, 10, 7)
	return uint8(n), err == nil && (len(format) == 1 || format[0] != '0')
}

// parseRtpmap reads "opus/48000/2".
func parseRtpmap(value string, kind cdn.Kind) (cdn.Codec, error) {
	name, rest, _ := strings.Cut(strings.TrimSpace(value), "/")
	clock, rest, more := strings.Cut(rest, "/")
	rate, err := strconv.ParseUint(clock, 10, 32)
	if name == "" || err != nil || rate == 0 {
		return cdn.Codec{}, fmt.Errorf("rtpmap %q", value)
	}
	c := cdn.Codec{MimeType: mimeType(kind, name), ClockRate: uint32(rate)}
	if kind == cdn.Audio && more {
		channels, _, _ := strings.Cut(rest, "/")
		n, err := strconv.ParseUint(channels, 10, 8)
		if err != nil || n == 0 {
			return cdn.Codec{}, fmt.Errorf("rtpmap %q", value)
		}
		c.Channels = uint16(n)
	}
	return c, nil
}

// usual are the media types that nearly every offer has.
var usual = []string{"video/rtx", "video/VP8", "video/VP9", "video/H264", "video/AV1", "video/H265", "video/red", "video/ulpfec", "audio/opus", "audio/red", "audio/telephone-event"}

// mimeType returns the media type of an encoding name.
func mimeType(kind cdn.Kind, name string) string {
	media := kind.String()
	for _, one := range usual {
		if len(one) == len(media)+1+len(name) && one[:len(media)] == media && one[len(media)+1:] == name {
			return one
		}
	}
	return media + "/" + name
}
