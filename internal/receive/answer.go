package receive

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/endpoint"
	"github.com/deltacdn/delta/internal/sdp"
)

// accepted returns the m-sections of the plan, that with the transport first, and
// those that are accepted for its sake.
func accepted(p *Plan) (all []*sdp.Media, bundled bool) {
	var wanted []*sdp.Media
	for i := range p.Choices {
		wanted = append(wanted, p.Choices[i].Media)
	}
	return endpoint.Bundle(p.Offer, wanted)
}

// readRemote checks that the offer asks for one transport that an endpoint can be
// the other end of. M-sections that are not bundled have one, too, if they have the
// same ICE credentials and candidates.
func readRemote(p *Plan) (endpoint.Remote, error) {
	all, bundled := accepted(p)
	if !bundled {
		first, _ := endpoint.First(p.Offer, all[0], "ice-ufrag")
		for _, m := range all {
			ufrag, _ := endpoint.First(p.Offer, m, "ice-ufrag")
			candidates := m.Attributes("candidate")
			if ufrag != first || len(candidates) > 0 && !slices.Equal(candidates, all[0].Attributes("candidate")) {
				return endpoint.Remote{}, fmt.Errorf("%w: m-sections with a transport each (RFC 9143)", cdn.ErrUnsupported)
			}
		}
	}
	return endpoint.ReadRemote(p.Offer, all)
}

// Check reports what [Answer] would: whether the offer's transport is one that can be
// answered. It changes nothing.
func Check(p *Plan) error {
	_, err := readRemote(p)
	return err
}

func reducedSize(p *Plan) bool {
	return !slices.ContainsFunc(p.Choices, func(c sdp.Choice) bool {
		_, ok := c.Media.Attribute("rtcp-rsize")
		return !ok
	})
}

const (
	transportCC = "transport-cc"
	remb        = "goog-remb"
)

// congestionControl returns the id of the extension that numbers packets across the
// transport, 0: there is none; and whether the sender is told by REMB what it may send:
// one that knows nothing else is, or that must not send more than a bound.
func congestionControl(p *Plan, bounded bool) (transport uint8, estimates bool) {
	for i := range p.Choices {
		c := &p.Choices[i]
		id, _ := c.Extension(sdp.URITransportCC)
		if transport == 0 && slices.Contains(c.Codec.Feedback, transportCC) {
			transport = id
		}
		estimates = estimates || slices.Contains(c.Codec.Feedback, remb)
	}
	return transport, estimates && (transport == 0 || bounded)
}

// answer writes the SDP answer (RFC 8829 section 5.3): as many m-sections as were
// offered. estimates: the sender is told estimates by REMB. number is the session's.
func answer(p *Plan, l endpoint.Local, estimates bool, number uint32) string {
	all, bundled := accepted(p)
	var b strings.Builder
	if bundled {
		l.WriteSession(&b, number, all)
	} else {
		l.WriteSession(&b, number, nil)
	}
	for _, m := range p.Offer.Media {
		i := slices.IndexFunc(p.Choices, func(c sdp.Choice) bool { return c.Media == m })
		switch {
		case i >= 0:
			accept(&b, p, i, l, estimates)
		case slices.Contains(all, m):
			l.WriteHeld(&b, m)
		default:
			endpoint.WriteRejected(&b, m)
		}
		if m == all[0] || i >= 0 && !bundled {
			l.WriteCandidates(&b)
		}
	}
	return b.String()
}

func accept(b *strings.Builder, p *Plan, i int, l endpoint.Local, estimates bool) {
	c := &p.Choices[i]
	formats := strconv.Itoa(int(c.Codec.PT))
	if red := redundancy(c.Codec); red != 0 { // ahead of the codec: that is what is sent
		formats = strconv.Itoa(int(red)) + " " + formats
	}
	if c.Codec.RTX != 0 {
		formats += " " + strconv.Itoa(int(c.Codec.RTX))
	}
	for _, pt := range []uint8{c.FEC.RED, c.FEC.REDRTX, c.FEC.ULP, c.FEC.Flex} {
		if pt != 0 {
			formats += " " + strconv.Itoa(int(pt))
		}
	}
	l.WriteSection(b, c.Media, formats)
	feedback := c.Feedback
	if estimates {
		feedback = append(slices.Clone(feedback), remb)
	}
	if redundancy(c.Codec) != 0 {
		endpoint.WriteRedundancy(b, c.Codec)
	}
	endpoint.WriteFormat(b, c.Codec, feedback)
	endpoint.WriteFEC(b, c.FEC, feedback)
	endpoint.WriteExtensions(b, p.Offer, c.Media, endpoint.Extensions(*c))
	b.WriteString("a=recvonly\r\n")
	if len(c.Media.Rids) == 0 {
		return
	}
	for _, rid := range c.Media.Rids {
		b.WriteString("a=rid:" + rid + " recv\r\n")
	}
	if _, ok := c.Media.Attribute("simulcast"); ok || len(c.Media.Rids) > 1 {
		b.WriteString("a=simulcast:recv " + strings.Join(c.Media.Rids, ";") + "\r\n")
	}
}
