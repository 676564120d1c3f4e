package viewer

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/endpoint"
	"github.com/deltacdn/delta/internal/sdp"
	"github.com/deltacdn/delta/internal/sdp/format"
	"github.com/deltacdn/delta/internal/send"
)

// readRemote checks that the offer asks for one transport that an endpoint can be
// the other end of. Errors wrap [cdn.ErrUnsupported] for what a PeerConnection might
// still do, and [cdn.ErrInvalid].
func readRemote(plan *send.Plan) (endpoint.Remote, error) {
	sections, bundled := opened(plan.Offer, plan.Choices)
	switch {
	case len(sections) < 2 || bundled:
	case len(plan.Lines) == 0:
		return endpoint.Remote{}, fmt.Errorf("%w: m-sections that are not bundled, of which one may be all that is needed", cdn.ErrUnsupported)
	default:
		return endpoint.Remote{}, fmt.Errorf("%w: m-sections that are not bundled (RFC 9143)", cdn.ErrInvalid)
	}
	return endpoint.ReadRemote(plan.Offer, sections)
}

// opened returns the m-sections that are accepted, that with the transport first.
func opened(o *sdp.Offer, choices []sdp.Choice) (all []*sdp.Media, bundled bool) {
	var wanted []*sdp.Media
	for _, c := range choices {
		if !slices.Contains(wanted, c.Media) {
			wanted = append(wanted, c.Media)
		}
	}
	return endpoint.Bundle(o, wanted)
}

// section is what the answer says of an m-section in which we send.
type section struct {
	choices   []sdp.Choice // one, unless it is not known yet what is sent
	track     string       // its name
	ssrc, rtx uint32       // rtx 0: none
}

func (s *section) media() *sdp.Media { return s.choices[0].Media }

// sections returns those of a plan.
func sections(p *send.Plan) (all []*section) {
	for i, c := range p.Choices {
		s := sectionOf(all, c.Media)
		if s == nil {
			s = &section{ssrc: newSSRC(all), track: trackName(all, c.Media.Kind)}
			all = append(all, s)
		}
		if i < len(p.Lines) {
			info := p.Lines[i].Track.Info()
			s.track = info.ID
			c.Codec.Fmtp = format.Format(c.Codec.Codec).Answer(format.Format(info.Codec))
		} else {
			c.Codec.Fmtp = openFmtp(c.Codec)
		}
		if slices.ContainsFunc(s.choices, func(one sdp.Choice) bool { return one.Codec.PT == c.Codec.PT }) {
			continue
		}
		s.choices = append(s.choices, c)
		if c.Codec.RTX != 0 && s.rtx == 0 {
			s.rtx = newSSRC(all)
		}
	}
	return all
}

// sectionOf returns the one of an m-section of the offer, nil if there is none.
func sectionOf(all []*section, m *sdp.Media) *section {
	for _, s := range all {
		if s.media() == m {
			return s
		}
	}
	return nil
}

// trackName is what one more track of a kind is most often called.
func trackName(before []*section, kind cdn.Kind) string {
	n := 1
	for _, s := range before {
		if s.media().Kind == kind {
			n++
		}
	}
	if n == 1 {
		return kind.String()
	}
	return kind.String() + strconv.Itoa(n)
}

// openFmtp returns the format parameters of a codec that may be sent: the
// offer's and, since a receiver of Opus that is not told otherwise may play one
// channel, that there may be two (RFC 7587 section 6.1).
func openFmtp(c sdp.Codec) string {
	const stereo = "sprop-stereo=1"
	switch {
	case !c.Is("audio/opus") || c.Channels == 1 || strings.Contains(c.Fmtp, "sprop-stereo="):
		return c.Fmtp
	case c.Fmtp == "":
		return stereo
	}
	return c.Fmtp + ";" + stereo
}

// answer writes the SDP answer (RFC 8829 section 5.3).
func answer(o *sdp.Offer, l endpoint.Local, sections []*section, cname string) string {
	var choices []sdp.Choice
	for _, s := range sections {
		choices = append(choices, s.choices[0])
	}
	open, bundled := opened(o, choices)
	var b strings.Builder
	if bundled {
		l.WriteSession(&b, sections[0].ssrc, open)
	} else {
		l.WriteSession(&b, sections[0].ssrc, nil)
	}
	for _, m := range o.Media {
		s := sectionOf(sections, m)
		switch {
		case s != nil:
			accept(&b, o, l, s, cname)
		case slices.Contains(open, m):
			l.WriteHeld(&b, m)
		default:
			endpoint.WriteRejected(&b, m)
		}
		if m == open[0] {
			l.WriteCandidates(&b)
		}
	}
	return b.String()
}

func accept(b *strings.Builder, o *sdp.Offer, l endpoint.Local, s *section, cname string) {
	m := s.media()
	line := func(parts ...string) {
		for _, p := range parts {
			b.WriteString(p)
		}
		b.WriteString("\r\n")
	}
	l.WriteSection(b, m, strings.Join(s.formats(), " "))
	for _, choice := range s.choices {
		endpoint.WriteFormat(b, choice.Codec, choice.Feedback)
		endpoint.WriteRedundancy(b, choice.Codec)
	}
	endpoint.WriteExtensions(b, o, m, s.extensions())
	line("a=msid:delta ", s.track)
	ssrc := strconv.FormatUint(uint64(s.ssrc), 10)
	if s.rtx != 0 {
		rtx := strconv.FormatUint(uint64(s.rtx), 10)
		line("a=ssrc-group:FID ", ssrc, " ", rtx)
		line("a=ssrc:", ssrc, " cname:", cname)
		line("a=ssrc:", rtx, " cname:", cname)
	} else {
		line("a=ssrc:", ssrc, " cname:", cname)
	}
	line("a=sendonly")
}

// extensions are the header extensions of any of the section's formats.
func (s *section) extensions() []endpoint.Extension {
	all := s.choices[0]
	for _, c := range s.choices[1:] {
		all.Extensions = append(slices.Clip(all.Extensions), c.Extensions...)
	}
	return endpoint.Extensions(all)
}

// formats are the section's payload types, each followed by that of its
// retransmissions.
func (s *section) formats() (all []string) {
	for _, c := range s.choices {
		all = append(all, strconv.Itoa(int(c.Codec.PT)))
		if c.Codec.RTX != 0 {
			all = append(all, strconv.Itoa(int(c.Codec.RTX)))
		}
		if c.Codec.RED != 0 {
			all = append(all, strconv.Itoa(int(c.Codec.RED)))
		}
	}
	return all
}
