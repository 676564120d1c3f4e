package lite

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/dtlssrtp"
	"github.com/deltacdn/delta/internal/icecheck"
	"github.com/deltacdn/delta/internal/negotiate"
	"github.com/deltacdn/delta/internal/send"
)

// remote is what an offer says of the other side's transport.
type remote struct {
	fingerprints []dtlssrtp.Hash
	ice          icecheck.Credentials
	mid          string // of the m-section that has the transport
}

// readRemote checks that the offer asks for one transport that a lite session
// can be the other end of: everything in one bundle, RTCP with RTP, and the
// other side willing to be the DTLS client. Errors wrap [cdn.ErrUnsupported]
// for what a PeerConnection might still do, and [cdn.ErrInvalid].
func readRemote(plan *send.Plan) (remote, error) {
	var r remote
	o := plan.Offer
	if _, ok := o.Attribute("ice-lite"); ok {
		return r, fmt.Errorf("%w: a lite agent, which waits for our checks", cdn.ErrUnsupported)
	}
	sections, bundled := opened(o, plan.Choices)
	switch {
	case len(sections) < 2 || bundled:
	case len(plan.Lines) == 0:
		return r, fmt.Errorf("%w: m-sections that are not bundled, of which one may be all that is needed", cdn.ErrUnsupported)
	default:
		return r, fmt.Errorf("%w: m-sections that are not bundled (RFC 9143)", cdn.ErrInvalid)
	}
	for _, m := range sections {
		if _, ok := m.Attribute("rtcp-mux"); !ok && len(m.Attributes("bundle-only")) == 0 {
			return r, fmt.Errorf("%w: RTCP on a port of its own", cdn.ErrUnsupported)
		}
		if setup, ok := first(o, m, "setup"); ok && setup != "actpass" && setup != "active" {
			return r, fmt.Errorf("%w: DTLS setup %q", cdn.ErrUnsupported, setup)
		}
		for _, value := range append(o.Attributes("fingerprint"), m.Attributes("fingerprint")...) {
			if h, err := dtlssrtp.ParseHash(value); err == nil {
				r.fingerprints = append(r.fingerprints, h)
			}
		}
	}
	ufrag, _ := first(o, sections[0], "ice-ufrag")
	pwd, _ := first(o, sections[0], "ice-pwd")
	r.ice = icecheck.Credentials{Ufrag: strings.Clone(ufrag), Pwd: strings.Clone(pwd)} // and not all of the offer
	r.mid = strings.Clone(sections[0].Mid)
	if err := r.ice.Check(); err != nil {
		return r, fmt.Errorf("%w: sdp: %w", cdn.ErrInvalid, err)
	}
	if len(r.fingerprints) == 0 {
		return r, fmt.Errorf("%w: sdp: no fingerprint by SHA-256, SHA-384 or SHA-512", cdn.ErrInvalid)
	}
	return r, nil
}

// opened returns the m-sections that are accepted, that with the transport
// first: those of the choices and, if the offer bundles them, the first of the
// bundle. To reject that is an error to Chromium where all depends on it
// (bundlePolicy: "max-bundle").
func opened(o *negotiate.Offer, choices []negotiate.Choice) (all []*negotiate.Media, bundled bool) {
	var mids []string
	for _, c := range choices {
		if !slices.Contains(all, c.Media) {
			all = append(all, c.Media)
			mids = append(mids, c.Media.Mid)
		}
	}
	group := bundle(o, mids)
	if len(group) == 0 {
		return all, false
	}
	i := slices.IndexFunc(o.Media, func(m *negotiate.Media) bool { return m.Mid == group[0] })
	if i >= 0 && !slices.Contains(all, o.Media[i]) && !o.Media[i].Rejected && len(o.Media[i].Codecs) > 0 {
		all = append(all, o.Media[i])
	}
	slices.SortStableFunc(all, func(a, b *negotiate.Media) int {
		return slices.Index(group, a.Mid) - slices.Index(group, b.Mid)
	})
	return all, true
}

// bundle returns the group that is offered as a bundle and has all m-sections
// named.
func bundle(o *negotiate.Offer, mids []string) []string {
	for _, group := range o.Attributes("group") {
		f := strings.Fields(group)
		outside := func(mid string) bool { return !slices.Contains(f[1:], mid) }
		if len(f) > 0 && f[0] == "BUNDLE" && !slices.ContainsFunc(mids, outside) {
			return f[1:]
		}
	}
	return nil
}

// first returns an attribute of the m-section, or of the session.
func first(o *negotiate.Offer, m *negotiate.Media, name string) (string, bool) {
	if v, ok := m.Attribute(name); ok {
		return v, true
	}
	return o.Attribute(name)
}

// local is what the answer says of our transport.
type local struct {
	ufrag, pwd  string
	fingerprint string // "sha-256 AB:CD:…"
	candidates  []net.Addr
}

// section is what the answer says of an m-section in which we send.
type section struct {
	choices   []negotiate.Choice // one, unless it is not known yet what is sent
	track     string             // its name
	ssrc, rtx uint32             // rtx 0: none
}

func (s *section) media() *negotiate.Media { return s.choices[0].Media }

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
			if info.Codec.Fmtp != "" {
				c.Codec.Fmtp = info.Codec.Fmtp // as published: it may hold what a decoder needs
			}
		} else {
			c.Codec.Fmtp = openFmtp(c.Codec)
		}
		if slices.ContainsFunc(s.choices, func(one negotiate.Choice) bool { return one.Codec.PT == c.Codec.PT }) {
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
func sectionOf(all []*section, m *negotiate.Media) *section {
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
func openFmtp(c negotiate.Codec) string {
	const stereo = "sprop-stereo=1"
	switch {
	case !c.Is("audio/opus") || c.Channels < 2 || strings.Contains(c.Fmtp, "sprop-stereo="):
		return c.Fmtp
	case c.Fmtp == "":
		return stereo
	}
	return c.Fmtp + ";" + stereo
}

// answer writes the SDP answer (RFC 8829 section 5.3).
func answer(o *negotiate.Offer, l local, sections []*section, cname string) string {
	var choices []negotiate.Choice
	for _, s := range sections {
		choices = append(choices, s.choices[0])
	}
	open, bundled := opened(o, choices)
	var b strings.Builder
	b.WriteString("v=0\r\no=- " + strconv.FormatUint(uint64(sections[0].ssrc), 10) + " 2 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n")
	if bundled {
		b.WriteString("a=group:BUNDLE")
		for _, m := range open {
			b.WriteString(" " + m.Mid)
		}
		b.WriteString("\r\n")
	}
	b.WriteString("a=ice-lite\r\na=fingerprint:" + l.fingerprint + "\r\na=msid-semantic: WMS *\r\n")
	for _, m := range o.Media {
		s := sectionOf(sections, m)
		switch {
		case s != nil:
			accept(&b, o, l, s, cname)
		case slices.Contains(open, m):
			hold(&b, l, m)
		default:
			reject(&b, m)
		}
		if m == open[0] {
			l.writeCandidates(&b)
		}
	}
	return b.String()
}

func reject(b *strings.Builder, m *negotiate.Media) {
	b.WriteString("m=" + m.Rejection() + "\r\nc=IN IP4 0.0.0.0\r\n")
	if m.Mid != "" {
		b.WriteString("a=mid:" + m.Mid + "\r\n")
	}
	b.WriteString("a=inactive\r\n")
}

// hold accepts an m-section for the sake of its transport alone.
func hold(b *strings.Builder, l local, m *negotiate.Media) {
	c := m.Codecs[0]
	pt := strconv.Itoa(int(c.PT))
	l.writeSection(b, m, pt)
	b.WriteString("a=rtpmap:" + pt + " " + negotiate.Rtpmap(c.Codec) + "\r\n")
	if c.Fmtp != "" {
		b.WriteString("a=fmtp:" + pt + " " + c.Fmtp + "\r\n")
	}
	b.WriteString("a=inactive\r\n")
}

// writeSection begins an m-section that is accepted.
func (l local) writeSection(b *strings.Builder, m *negotiate.Media, formats string) {
	b.WriteString("m=" + m.Kind.String() + " 9 " + m.Protocol() + " " + formats + "\r\nc=IN IP4 0.0.0.0\r\n")
	if m.Mid != "" {
		b.WriteString("a=mid:" + m.Mid + "\r\n")
	}
	b.WriteString("a=setup:passive\r\na=ice-ufrag:" + l.ufrag + "\r\na=ice-pwd:" + l.pwd + "\r\na=rtcp-mux\r\n")
	if _, ok := m.Attribute("rtcp-rsize"); ok {
		b.WriteString("a=rtcp-rsize\r\n")
	}
}

func accept(b *strings.Builder, o *negotiate.Offer, l local, s *section, cname string) {
	m := s.media()
	line := func(parts ...string) {
		for _, p := range parts {
			b.WriteString(p)
		}
		b.WriteString("\r\n")
	}
	l.writeSection(b, m, strings.Join(s.formats(), " "))
	for _, choice := range s.choices {
		c := choice.Codec
		pt := strconv.Itoa(int(c.PT))
		line("a=rtpmap:", pt, " ", negotiate.Rtpmap(c.Codec))
		if c.Fmtp != "" {
			line("a=fmtp:", pt, " ", c.Fmtp)
		}
		for _, fb := range choice.Feedback {
			if slices.Contains(c.Feedback, fb) {
				line("a=rtcp-fb:", pt, " ", fb)
			}
		}
		if c.RTX != 0 {
			rtx := strconv.Itoa(int(c.RTX))
			line("a=rtpmap:", rtx, " rtx/", strconv.Itoa(int(c.ClockRate)))
			line("a=fmtp:", rtx, " apt=", pt)
		}
	}
	if _, ok := first(o, m, "extmap-allow-mixed"); ok {
		line("a=extmap-allow-mixed")
	}
	for _, e := range extensions(s.choices[0]) {
		line("a=extmap:", strconv.Itoa(int(e.id)), e.direction, " ", e.uri)
	}
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

// formats are the section's payload types, each followed by that of its
// retransmissions.
func (s *section) formats() (all []string) {
	for _, c := range s.choices {
		all = append(all, strconv.Itoa(int(c.Codec.PT)))
		if c.Codec.RTX != 0 {
			all = append(all, strconv.Itoa(int(c.Codec.RTX)))
		}
	}
	return all
}

// An extension is a header extension that we write and the other side reads.
type extension struct {
	uri       string
	id        uint8
	direction string // as in a=extmap
}

// extensions are those of the choice that the offer has for this direction.
func extensions(c negotiate.Choice) (all []extension) {
	for i, uri := range c.Extensions {
		id, direction := c.Extension(uri)
		if id != 0 && !slices.Contains(c.Extensions[:i], uri) {
			all = append(all, extension{uri: uri, id: id, direction: direction})
		}
	}
	return all
}

// writeCandidates writes our addresses. All are host candidates; those that
// come first in the list are preferred.
func (l local) writeCandidates(b *strings.Builder) {
	for i, addr := range l.candidates {
		u, ok := addr.(*net.UDPAddr)
		if !ok {
			continue
		}
		const hostType, component = 126, 256 - 1 // RFC 8445 section 5.1.2.1
		priority := hostType<<24 | (65535-i)<<8 | component
		fmt.Fprintf(b, "a=candidate:%d 1 udp %d %s %d typ host\r\n", i+1, priority, u.IP, u.Port)
	}
	b.WriteString("a=end-of-candidates\r\n")
}

// fragment is what a client needs of our transport after an ICE restart.
func (l local) fragment(mid string) string {
	var b strings.Builder
	b.WriteString("a=ice-lite\r\na=ice-ufrag:" + l.ufrag + "\r\na=ice-pwd:" + l.pwd + "\r\n")
	b.WriteString("m=video 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:" + mid + "\r\n")
	l.writeCandidates(&b)
	return b.String()
}
