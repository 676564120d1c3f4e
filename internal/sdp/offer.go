// Package sdp reads SDP offers and decides what of them is answered. The
// offer that a PeerConnection gets to see is reduced to that decision, so its
// answer can say nothing else; payload types, format parameters and extension
// ids stay those of the offer.
package sdp

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"

	"github.com/deltacdn/delta/cdn"
)

// An Offer is a parsed SDP offer (RFC 8829).
type Offer struct {
	Media []*Media
	desc  sdp.SessionDescription
}

// Media is one m-section.
type Media struct {
	Mid      string
	Kind     cdn.Kind // 0: neither audio nor video
	Sends    bool     // the offerer wants to send
	Receives bool     // the offerer wants to receive
	Rejected bool     // port 0 outside a bundle
	// Codecs that carry media, in the offerer's order of preference. Repair
	// and redundancy formats are not among them.
	Codecs []Codec
	// FEC is what video has of forward error correction.
	FEC FEC
	// Extensions maps the URI of each header extension to its id.
	Extensions map[string]uint8
	// Rids are the simulcast layers that the offerer sends (RFC 8853), in its
	// order.
	Rids []string
	// Track is the second half of a=msid, "" if there is none.
	Track string

	section *sdp.MediaDescription
}

// Codec is a format of an m-section.
type Codec struct {
	cdn.Codec
	PT  uint8
	RTX uint8 // payload type of its retransmissions (RFC 4588), 0: none
	RED uint8 // payload type by which it can travel with redundancy (RFC 2198), 0: none
	// PrefersRED: the offerer lists RED ahead of the plain codec.
	PrefersRED bool
	Feedback   []string // as in a=rtcp-fb: "nack", "nack pli", …
}

// maxCandidates bounds the candidates of an offer. Clients that do not bundle
// repeat theirs in each m-section.
const maxCandidates = 256

// Parse reads an offer, however carelessly it is written ([tidy]). What counts for
// all m-sections is in each of them then. Errors wrap [cdn.ErrInvalid].
func Parse(offer string) (*Offer, error) {
	o, err := parseOffer(tidy(offer))
	if err != nil {
		return nil, &cdn.Error{Op: "read offer", Err: err, Detail: "The offer is malformed (RFC 8866), or has nothing in it."}
	}
	return o, nil
}

func parseOffer(offer string) (*Offer, error) {
	o := &Offer{}
	if hasLoneControl(offer) { // values are repeated in answers
		return nil, fmt.Errorf("%w: sdp: a line that does not end in a line feed", cdn.ErrInvalid)
	}
	if err := o.desc.UnmarshalString(offer); err != nil {
		return nil, fmt.Errorf("%w: sdp: %w", cdn.ErrInvalid, err)
	}
	inherit(&o.desc)
	candidates := 0
	for _, section := range o.desc.MediaDescriptions {
		for _, a := range section.Attributes {
			if a.Key == "candidate" {
				candidates++
			}
		}
		m, err := parseMedia(section)
		if err != nil {
			return nil, fmt.Errorf("%w: sdp: %w", cdn.ErrInvalid, err)
		}
		if m.Mid != "" && slices.ContainsFunc(o.Media, func(other *Media) bool { return other.Mid == m.Mid }) {
			return nil, fmt.Errorf("%w: sdp: two m-sections %q", cdn.ErrInvalid, m.Mid)
		}
		o.Media = append(o.Media, m)
	}
	if candidates > maxCandidates {
		return nil, fmt.Errorf("%w: sdp: more than %d candidates", cdn.ErrInvalid, maxCandidates)
	}
	if len(o.Media) == 0 {
		return nil, fmt.Errorf("%w: sdp: no media", cdn.ErrInvalid)
	}
	o.dropAmbiguousFEC()
	return o, nil
}

// hasLoneControl reports whether there is a NUL, or a CR that ends no line.
func hasLoneControl(offer string) bool {
	return strings.Contains(offer, "\x00") || strings.Count(offer, "\r") != strings.Count(offer, "\r\n")
}

// Attribute returns the session-level attribute named.
func (o *Offer) Attribute(name string) (string, bool) { return o.desc.Attribute(name) }

// Attributes returns the values of all session-level attributes named.
func (o *Offer) Attributes(name string) []string { return values(o.desc.Attributes, name) }

// Attribute returns the m-section's attribute named.
func (m *Media) Attribute(name string) (string, bool) { return m.section.Attribute(name) }

// Attributes returns the values of all the m-section's attributes named.
func (m *Media) Attributes(name string) []string { return values(m.section.Attributes, name) }

func values(all []sdp.Attribute, name string) (found []string) {
	for _, a := range all {
		if a.Key == name {
			found = append(found, a.Value)
		}
	}
	return found
}

// Protocol is that of the m= line, which an answer has to repeat (RFC 8829
// section 5.3.1).
func (m *Media) Protocol() string { return strings.Join(m.section.MediaName.Protos, "/") }

// extensionDirection returns what the offerer does with a header extension if
// it says so: "sendonly", "recvonly", "sendrecv" or "inactive".
func (m *Media) extensionDirection(uri string) string {
	direction := ""
	for _, value := range m.Attributes("extmap") {
		if _, one, ok := parseExtmap(value); ok && one == uri {
			_, direction, _ = strings.Cut(strings.Fields(value)[0], "/")
		}
	}
	return direction
}

// Rejection returns the rest of the m= line that rejects the m-section.
func (m *Media) Rejection() string {
	name := m.section.MediaName
	name.Port.Value, name.Port.Range = 0, nil
	if m.Kind != 0 {
		name.Formats = []string{"0"} // any will do, and none has to be explained
	}
	return name.String()
}

func parseMedia(section *sdp.MediaDescription) (*Media, error) {
	m := &Media{section: section}
	switch section.MediaName.Media {
	case "audio":
		m.Kind = cdn.Audio
	case "video":
		m.Kind = cdn.Video
	}
	m.Mid, _ = section.Attribute("mid")
	_, bundleOnly := section.Attribute("bundle-only")
	m.Rejected = section.MediaName.Port.Value == 0 && !bundleOnly
	way := direction(section.Attributes, "sendrecv")
	m.Sends, m.Receives = way == "sendrecv" || way == "sendonly", way == "sendrecv" || way == "recvonly"
	if msid, ok := section.Attribute("msid"); ok {
		_, m.Track, _ = strings.Cut(msid, " ")
	}
	if m.Kind == 0 {
		return m, nil
	}
	m.Rids = rids(section)
	m.Extensions = parseExtensions(section)
	var lines formatLines
	lines.read(section)
	var err error
	m.Codecs, err = parseCodecs(section, m.Kind, &lines)
	if m.Kind == cdn.Video {
		m.FEC = parseFEC(section, &lines)
	}
	return m, err
}

func parseExtensions(section *sdp.MediaDescription) map[string]uint8 {
	n := 0
	for _, a := range section.Attributes {
		if a.Key == "extmap" {
			n++
		}
	}
	all := make(map[string]uint8, n)
	for _, a := range section.Attributes {
		if a.Key != "extmap" {
			continue
		}
		if id, uri, ok := parseExtmap(a.Value); ok {
			all[uri] = id
		}
	}
	return all
}

// parseExtmap reads "3 URI" or "3/sendonly URI attributes" (RFC 8285 section 8).
func parseExtmap(value string) (id uint8, uri string, ok bool) {
	first, rest := field(value)
	uri, _ = field(rest)
	number, _, _ := strings.Cut(first, "/")
	n, err := strconv.ParseUint(number, 10, 8)
	return uint8(n), uri, err == nil && n > 0 && uri != ""
}

// field returns the first field of s, up to white space, and the rest of s.
func field(s string) (first, rest string) {
	s = strings.TrimLeft(s, " \t")
	if i := strings.IndexAny(s, " \t"); i >= 0 {
		return s[:i], s[i:]
	}
	return s, ""
}

// rids returns the layers of a=simulcast:send, alternatives and pauses left
// aside; without that attribute, those of a=rid.
func rids(section *sdp.MediaDescription) []string {
	if value, ok := section.Attribute("simulcast"); ok {
		fields := strings.Fields(value)
		for i := 0; i+1 < len(fields); i += 2 {
			if fields[i] != "send" {
				continue
			}
			var out []string
			for one := range strings.SplitSeq(fields[i+1], ";") {
				name, _, _ := strings.Cut(one, ",")
				if name = strings.TrimPrefix(name, "~"); name != "" && !slices.Contains(out, name) {
					out = append(out, name)
				}
			}
			return out
		}
	}
	var out []string
	for _, a := range section.Attributes {
		if a.Key == "rid" {
			if f := strings.Fields(a.Value); len(f) >= 2 && f[1] == "send" && !slices.Contains(out, f[0]) {
				out = append(out, f[0])
			}
		}
	}
	return out
}
