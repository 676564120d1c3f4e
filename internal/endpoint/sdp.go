package endpoint

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
)

// Remote is what an offer says of the peer's transport.
type Remote struct {
	Fingerprints []dtlssrtp.Hash
	ICE          icecheck.Credentials
	Mid          string // of the m-section that has the transport
	// Passive: the peer waits for our ClientHello (RFC 8842 section 5.1).
	Passive bool
}

// ReadRemote checks that the m-sections of an offer, which are going to be
// accepted, ask for a transport that an endpoint can be the other end of: RTCP with
// RTP, and ICE checks by the peer. That of the first section counts, as it does in a
// bundle. Errors wrap [cdn.ErrUnsupported] for what a PeerConnection might still do,
// and [cdn.ErrInvalid].
func ReadRemote(o *negotiate.Offer, sections []*negotiate.Media) (Remote, error) {
	var r Remote
	if _, ok := o.Attribute("ice-lite"); ok {
		return r, fmt.Errorf("%w: a lite agent, which waits for our checks", cdn.ErrUnsupported)
	}
	for i, m := range sections {
		if _, ok := m.Attribute("rtcp-mux"); !ok && len(m.Attributes("bundle-only")) == 0 {
			return r, fmt.Errorf("%w: RTCP on a port of its own", cdn.ErrUnsupported)
		}
		switch setup, ok := First(o, m, "setup"); {
		case !ok || setup == "actpass" || setup == "active":
		case setup == "passive":
			r.Passive = r.Passive || i == 0
		default:
			return r, fmt.Errorf("%w: DTLS setup %q", cdn.ErrUnsupported, setup)
		}
		for _, value := range append(o.Attributes("fingerprint"), m.Attributes("fingerprint")...) {
			if h, err := dtlssrtp.ParseHash(value); err == nil {
				r.Fingerprints = append(r.Fingerprints, h)
			}
		}
	}
	ufrag, _ := First(o, sections[0], "ice-ufrag")
	pwd, _ := First(o, sections[0], "ice-pwd")
	r.ICE = icecheck.Credentials{Ufrag: strings.Clone(ufrag), Pwd: strings.Clone(pwd)} // and not all of the offer
	r.Mid = strings.Clone(sections[0].Mid)
	if err := r.ICE.Check(); err != nil {
		return r, fmt.Errorf("%w: sdp: %w", cdn.ErrInvalid, err)
	}
	if len(r.Fingerprints) == 0 {
		return r, fmt.Errorf("%w: sdp: no fingerprint by SHA-256, SHA-384 or SHA-512", cdn.ErrInvalid)
	}
	return r, nil
}

// Bundle returns the m-sections that an answer accepts, given those that the caller
// wants: that with the transport first. If the offer bundles them, the first of the
// bundle is accepted, too: to reject that is an error to Chromium where all depends
// on it (bundlePolicy: "max-bundle").
func Bundle(o *negotiate.Offer, wanted []*negotiate.Media) (all []*negotiate.Media, bundled bool) {
	all = slices.Clone(wanted)
	var mids []string
	for _, m := range wanted {
		mids = append(mids, m.Mid)
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

// First returns an attribute of the m-section, or else of the session.
func First(o *negotiate.Offer, m *negotiate.Media, name string) (string, bool) {
	if v, ok := m.Attribute(name); ok {
		return v, true
	}
	return o.Attribute(name)
}

// Local is what an answer says of our transport.
type Local struct {
	ICE         icecheck.Credentials
	Fingerprint string // "sha-256 AB:CD:…"
	Candidates  []net.Addr
	Client      bool // of DTLS
}

// WriteSession begins an answer (RFC 8829 section 5.3): number is the session's,
// bundle are the m-sections that share the transport, if any.
func (l Local) WriteSession(b *strings.Builder, number uint32, bundle []*negotiate.Media) {
	b.WriteString("v=0\r\no=- " + strconv.FormatUint(uint64(number), 10) + " 2 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n")
	if len(bundle) > 0 {
		b.WriteString("a=group:BUNDLE")
		for _, m := range bundle {
			b.WriteString(" " + m.Mid)
		}
		b.WriteString("\r\n")
	}
	b.WriteString("a=ice-lite\r\na=fingerprint:" + l.Fingerprint + "\r\na=msid-semantic: WMS *\r\n")
}

// WriteSection begins an m-section that is accepted.
func (l Local) WriteSection(b *strings.Builder, m *negotiate.Media, formats string) {
	b.WriteString("m=" + m.Kind.String() + " 9 " + m.Protocol() + " " + formats + "\r\nc=IN IP4 0.0.0.0\r\n")
	if m.Mid != "" {
		b.WriteString("a=mid:" + m.Mid + "\r\n")
	}
	setup := "passive"
	if l.Client {
		setup = "active"
	}
	b.WriteString("a=setup:" + setup + "\r\na=ice-ufrag:" + l.ICE.Ufrag + "\r\na=ice-pwd:" + l.ICE.Pwd + "\r\na=rtcp-mux\r\n")
	if _, ok := m.Attribute("rtcp-rsize"); ok {
		b.WriteString("a=rtcp-rsize\r\n")
	}
}

// WriteHeld accepts an m-section for the sake of its transport alone.
func (l Local) WriteHeld(b *strings.Builder, m *negotiate.Media) {
	c := m.Codecs[0]
	pt := strconv.Itoa(int(c.PT))
	l.WriteSection(b, m, pt)
	b.WriteString("a=rtpmap:" + pt + " " + negotiate.Rtpmap(c.Codec) + "\r\n")
	if c.Fmtp != "" {
		b.WriteString("a=fmtp:" + pt + " " + c.Fmtp + "\r\n")
	}
	b.WriteString("a=inactive\r\n")
}

// WriteRejected rejects an m-section.
func WriteRejected(b *strings.Builder, m *negotiate.Media) {
	b.WriteString("m=" + m.Rejection() + "\r\nc=IN IP4 0.0.0.0\r\n")
	if m.Mid != "" {
		b.WriteString("a=mid:" + m.Mid + "\r\n")
	}
	b.WriteString("a=inactive\r\n")
}

// WriteFormat writes what is accepted of a format: its parameters, and the feedback
// that both sides know of.
func WriteFormat(b *strings.Builder, c negotiate.Codec, feedback []string) {
	pt := strconv.Itoa(int(c.PT))
	b.WriteString("a=rtpmap:" + pt + " " + negotiate.Rtpmap(c.Codec) + "\r\n")
	if c.Fmtp != "" {
		b.WriteString("a=fmtp:" + pt + " " + c.Fmtp + "\r\n")
	}
	for _, fb := range feedback {
		if slices.Contains(c.Feedback, fb) {
			b.WriteString("a=rtcp-fb:" + pt + " " + fb + "\r\n")
		}
	}
	if c.RTX != 0 {
		rtx := strconv.Itoa(int(c.RTX))
		b.WriteString("a=rtpmap:" + rtx + " rtx/" + strconv.Itoa(int(c.ClockRate)) + "\r\n")
		b.WriteString("a=fmtp:" + rtx + " apt=" + pt + "\r\n")
	}
}

// An Extension is a header extension that both sides know of.
type Extension struct {
	URI       string
	ID        uint8
	Direction string // as in a=extmap
}

// Extensions are those of the choice that the offer has for this direction.
func Extensions(c negotiate.Choice) (all []Extension) {
	for i, uri := range c.Extensions {
		id, direction := c.Extension(uri)
		if id != 0 && !slices.Contains(c.Extensions[:i], uri) {
			all = append(all, Extension{URI: uri, ID: id, Direction: direction})
		}
	}
	return all
}

// WriteExtensions writes the header extensions of an m-section.
func WriteExtensions(b *strings.Builder, o *negotiate.Offer, m *negotiate.Media, all []Extension) {
	if _, ok := First(o, m, "extmap-allow-mixed"); ok {
		b.WriteString("a=extmap-allow-mixed\r\n")
	}
	for _, e := range all {
		b.WriteString("a=extmap:" + strconv.Itoa(int(e.ID)) + e.Direction + " " + e.URI + "\r\n")
	}
}

// WriteCandidates writes our addresses. All are host candidates; those that
// come first in the list are preferred.
func (l Local) WriteCandidates(b *strings.Builder) {
	for i, addr := range l.Candidates {
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
func (l Local) fragment(mid string) string {
	var b strings.Builder
	b.WriteString("a=ice-lite\r\na=ice-ufrag:" + l.ICE.Ufrag + "\r\na=ice-pwd:" + l.ICE.Pwd + "\r\n")
	b.WriteString("m=video 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:" + mid + "\r\n")
	l.WriteCandidates(&b)
	return b.String()
}
