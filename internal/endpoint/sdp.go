package endpoint

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/endpoint/icecheck"
	"github.com/deltacdn/delta/internal/sdp"
)

// Local is what an answer says of our transport.
type Local struct {
	ICE         icecheck.Credentials
	Fingerprint string // "sha-256 AB:CD:…"
	Candidates  []net.Addr
	PassiveTCP  []net.Addr // addresses to connect to by TCP
	Client      bool       // of DTLS
}

// WriteSession begins an answer (RFC 8829 section 5.3): number is the session's,
// bundle are the m-sections that share the transport, if any.
func (l Local) WriteSession(b *strings.Builder, number uint32, bundle []*sdp.Media) {
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
func (l Local) WriteSection(b *strings.Builder, m *sdp.Media, formats string) {
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
func (l Local) WriteHeld(b *strings.Builder, m *sdp.Media) {
	c := m.Codecs[0]
	pt := strconv.Itoa(int(c.PT))
	l.WriteSection(b, m, pt)
	b.WriteString("a=rtpmap:" + pt + " " + sdp.Rtpmap(c.Codec) + "\r\n")
	if c.Fmtp != "" {
		b.WriteString("a=fmtp:" + pt + " " + c.Fmtp + "\r\n")
	}
	b.WriteString("a=inactive\r\n")
}

// WriteRejected rejects an m-section.
func WriteRejected(b *strings.Builder, m *sdp.Media) {
	b.WriteString("m=" + m.Rejection() + "\r\nc=IN IP4 0.0.0.0\r\n")
	if m.Mid != "" {
		b.WriteString("a=mid:" + m.Mid + "\r\n")
	}
	b.WriteString("a=inactive\r\n")
}

// WriteFormat writes what is accepted of a format: its parameters, and the feedback
// that both sides know of.
func WriteFormat(b *strings.Builder, c sdp.Codec, feedback []string) {
	pt := strconv.Itoa(int(c.PT))
	b.WriteString("a=rtpmap:" + pt + " " + sdp.Rtpmap(c.Codec) + "\r\n")
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
func Extensions(c sdp.Choice) (all []Extension) {
	for i, uri := range c.Extensions {
		id, direction := c.Extension(uri)
		if id != 0 && !slices.Contains(c.Extensions[:i], uri) {
			all = append(all, Extension{URI: uri, ID: id, Direction: direction})
		}
	}
	return all
}

// WriteRedundancy writes the format in which a codec travels with redundancy (RFC 2198),
// if there is one.
func WriteRedundancy(b *strings.Builder, c sdp.Codec) {
	if c.RED == 0 {
		return
	}
	red, of := strconv.Itoa(int(c.RED)), strconv.Itoa(int(c.PT))
	b.WriteString("a=rtpmap:" + red + " " + sdp.Rtpmap(cdn.Codec{MimeType: "audio/red", ClockRate: c.ClockRate, Channels: c.Channels}) + "\r\n")
	b.WriteString("a=fmtp:" + red + " " + of + "/" + of + "\r\n")
}

// WriteFEC writes the formats of forward error correction.
func WriteFEC(b *strings.Builder, f sdp.FEC, feedback []string) {
	format := func(pt uint8, name, fmtp string) {
		if pt != 0 {
			WriteFormat(b, sdp.Codec{PT: pt, Codec: cdn.Codec{MimeType: "video/" + name, ClockRate: 90000, Fmtp: fmtp}, Feedback: f.FlexFeedback}, feedback)
		}
	}
	format(f.RED, "red", "")
	format(f.REDRTX, "rtx", "apt="+strconv.Itoa(int(f.RED)))
	format(f.ULP, "ulpfec", "")
	format(f.Flex, f.FlexName, f.FlexFmtp)
}

// WriteExtensions writes the header extensions of an m-section.
func WriteExtensions(b *strings.Builder, o *sdp.Offer, m *sdp.Media, all []Extension) {
	if _, ok := First(o, m, "extmap-allow-mixed"); ok {
		b.WriteString("a=extmap-allow-mixed\r\n")
	}
	for _, e := range all {
		b.WriteString("a=extmap:" + strconv.Itoa(int(e.ID)) + e.Direction + " " + e.URI + "\r\n")
	}
}

// component is what the only component of a transport adds to the priority of its
// candidates (RFC 8445 section 5.1.2.1).
const component = 256 - 1

// WriteCandidates writes our addresses. All are host candidates; those that
// come first in the list are preferred, and UDP is preferred to TCP.
func (l Local) WriteCandidates(b *strings.Builder) {
	for i, addr := range l.Candidates {
		u, ok := addr.(*net.UDPAddr)
		if !ok {
			continue
		}
		const hostType = 126 // RFC 8445 section 5.1.2.1
		priority := hostType<<24 | (65535-i)<<8 | component
		fmt.Fprintf(b, "a=candidate:%d 1 udp %d %s %d typ host\r\n", i+1, priority, u.IP, u.Port)
	}
	for i, addr := range l.PassiveTCP {
		a, ok := addr.(*net.TCPAddr)
		if !ok {
			continue
		}
		fmt.Fprintf(b, "a=candidate:%d 1 tcp %d %s %d typ host tcptype passive\r\n", len(l.Candidates)+i+1, passivePriority(i), a.IP, a.Port)
	}
	b.WriteString("a=end-of-candidates\r\n")
}

// passivePriority returns the priority of our i-th candidate by TCP: below that of
// every candidate by UDP, relayed ones aside (RFC 6544 section 4.2).
func passivePriority(i int) int {
	const hostType, passive, most = 90, 4 << 13, 1<<13 - 1
	return hostType<<24 | (passive+most-i)<<8 | component
}

// fragment is what a client needs of our transport after an ICE restart.
func (l Local) fragment(mid string) string {
	var b strings.Builder
	b.WriteString("a=ice-lite\r\na=ice-ufrag:" + l.ICE.Ufrag + "\r\na=ice-pwd:" + l.ICE.Pwd + "\r\n")
	b.WriteString("m=video 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:" + mid + "\r\n")
	l.WriteCandidates(&b)
	return b.String()
}
