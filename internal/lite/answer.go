package lite

import (
	"crypto"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/pion/dtls/v3/pkg/crypto/fingerprint"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/negotiate"
	"github.com/deltacdn/delta/internal/send"
)

// remote is what an offer says of the other side's transport.
type remote struct {
	fingerprints []hash
	ufrag, pwd   string
}

// hash is a certificate fingerprint (RFC 8122 section 5).
type hash struct {
	algorithm crypto.Hash
	value     string // "AB:CD:…" in lower case
}

// hashes are those that are strong enough (RFC 8122 section 5.1).
var hashes = []crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512}

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
	bundled, _ := o.Attribute("group")
	if group := strings.Fields(bundled); len(plan.Lines) > 1 {
		for _, l := range plan.Lines {
			if len(group) == 0 || group[0] != "BUNDLE" || !slices.Contains(group[1:], l.Mid) {
				return r, fmt.Errorf("%w: m-sections that are not bundled", cdn.ErrUnsupported)
			}
		}
	}
	for _, c := range plan.Choices {
		m := c.Media
		if _, ok := m.Attribute("rtcp-mux"); !ok && len(m.Attributes("bundle-only")) == 0 {
			return r, fmt.Errorf("%w: RTCP on a port of its own", cdn.ErrUnsupported)
		}
		if setup, ok := first(o, m, "setup"); ok && setup != "actpass" && setup != "active" {
			return r, fmt.Errorf("%w: DTLS setup %q", cdn.ErrUnsupported, setup)
		}
		for _, value := range append(o.Attributes("fingerprint"), m.Attributes("fingerprint")...) {
			name, digest, _ := strings.Cut(value, " ")
			algorithm, err := fingerprint.HashFromString(strings.ToLower(name))
			if err == nil && slices.Contains(hashes, algorithm) {
				r.fingerprints = append(r.fingerprints, hash{algorithm, strings.Clone(strings.ToLower(strings.TrimSpace(digest)))})
			}
		}
	}
	r.ufrag, _ = first(o, plan.Choices[0].Media, "ice-ufrag")
	r.pwd, _ = first(o, plan.Choices[0].Media, "ice-pwd")
	r.ufrag, r.pwd = strings.Clone(r.ufrag), strings.Clone(r.pwd) // and not all of the offer
	if r.ufrag == "" || r.pwd == "" {
		return r, fmt.Errorf("%w: sdp: no ICE user name and password", cdn.ErrInvalid)
	}
	if len(r.fingerprints) == 0 {
		return r, fmt.Errorf("%w: sdp: no fingerprint by SHA-256, SHA-384 or SHA-512", cdn.ErrInvalid)
	}
	return r, nil
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

// stream is what the answer says of one RTP stream.
type stream struct {
	line      *send.Line
	choice    negotiate.Choice
	ssrc, rtx uint32 // rtx 0: none
}

// answer writes the SDP answer (RFC 8829 section 5.3).
func answer(o *negotiate.Offer, l local, streams []stream, cname string) string {
	var b strings.Builder
	var mids []string
	for _, s := range streams {
		mids = append(mids, s.line.Mid)
	}
	b.WriteString("v=0\r\no=- " + strconv.FormatUint(uint64(streams[0].ssrc), 10) + " 2 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n")
	if _, ok := o.Attribute("group"); ok {
		b.WriteString("a=group:BUNDLE " + strings.Join(mids, " ") + "\r\n")
	}
	b.WriteString("a=ice-lite\r\na=fingerprint:" + l.fingerprint + "\r\na=msid-semantic: WMS *\r\n")
	addressed := false
	for _, m := range o.Media {
		i := slices.IndexFunc(streams, func(s stream) bool { return s.choice.Media == m })
		if i < 0 {
			reject(&b, m)
			continue
		}
		accept(&b, l, streams[i], cname)
		if !addressed {
			addressed = true
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

func accept(b *strings.Builder, l local, s stream, cname string) {
	c, m := s.choice.Codec, s.choice.Media
	pt := strconv.Itoa(int(c.PT))
	formats := pt
	if s.rtx != 0 {
		formats += " " + strconv.Itoa(int(c.RTX))
	}
	line := func(parts ...string) {
		for _, p := range parts {
			b.WriteString(p)
		}
		b.WriteString("\r\n")
	}
	line("m=", m.Kind.String(), " 9 UDP/TLS/RTP/SAVPF ", formats)
	line("c=IN IP4 0.0.0.0")
	if m.Mid != "" {
		line("a=mid:", m.Mid)
	}
	line("a=setup:passive")
	line("a=ice-ufrag:", l.ufrag)
	line("a=ice-pwd:", l.pwd)
	line("a=rtcp-mux")
	if _, ok := m.Attribute("rtcp-rsize"); ok {
		line("a=rtcp-rsize")
	}
	line("a=rtpmap:", pt, " ", negotiate.Rtpmap(c.Codec))
	if fmtp := s.line.Track.Info().Codec.Fmtp; fmtp != "" {
		line("a=fmtp:", pt, " ", fmtp) // as published: it may hold what a decoder needs
	} else if c.Fmtp != "" {
		line("a=fmtp:", pt, " ", c.Fmtp)
	}
	for _, fb := range s.choice.Feedback {
		if slices.Contains(c.Feedback, fb) {
			line("a=rtcp-fb:", pt, " ", fb)
		}
	}
	if s.rtx != 0 {
		rtx := strconv.Itoa(int(c.RTX))
		line("a=rtpmap:", rtx, " rtx/", strconv.Itoa(int(c.ClockRate)))
		line("a=fmtp:", rtx, " apt=", pt)
	}
	for _, uri := range s.choice.Extensions {
		if id := m.Extensions[uri]; id != 0 {
			line("a=extmap:", strconv.Itoa(int(id)), " ", uri)
		}
	}
	line("a=msid:delta ", s.line.Track.Info().ID)
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
