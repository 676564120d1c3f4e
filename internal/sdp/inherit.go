package sdp

import (
	"slices"
	"strings"

	"github.com/pion/sdp/v3"
)

// inherited are the attributes that count for each m-section without one of its
// own where they stand at session level.
var inherited = []string{"fingerprint", "setup", "ice-options", "rtcp-mux", "rtcp-rsize", "extmap-allow-mixed"}

// directions are the attributes of direction (RFC 8866 section 6.7).
var directions = []string{"sendrecv", "sendonly", "recvonly", "inactive"}

// inherit writes what counts for all m-sections into each, so that whoever reads
// them reads the same: direction, transport and header extensions.
func inherit(desc *sdp.SessionDescription) {
	all := direction(desc.Attributes, "sendrecv")
	for _, section := range desc.MediaDescriptions {
		setDirection(section, direction(section.Attributes, all))
		for _, name := range inherited {
			inheritOne(section, desc.Attributes, name)
		}
		if _, ok := section.Attribute("ice-ufrag"); !ok { // both are of one ICE session
			section.Attributes = without(section.Attributes, "ice-pwd")
			inheritOne(section, desc.Attributes, "ice-ufrag")
			inheritOne(section, desc.Attributes, "ice-pwd")
		}
		inheritExtensions(section, desc.Attributes)
	}
	desc.Attributes = without(desc.Attributes, append([]string{"extmap"}, directions...)...)
}

// direction returns the attribute of direction among those given; def if there is
// none.
func direction(attributes []sdp.Attribute, def string) string {
	for _, a := range attributes {
		if slices.Contains(directions, a.Key) {
			return a.Key
		}
	}
	return def
}

func setDirection(section *sdp.MediaDescription, direction string) {
	section.Attributes = slices.DeleteFunc(section.Attributes, func(a sdp.Attribute) bool { return slices.Contains(directions, a.Key) })
	section.Attributes = append(section.Attributes, sdp.Attribute{Key: direction})
}

func inheritOne(section *sdp.MediaDescription, session []sdp.Attribute, name string) {
	if _, ok := section.Attribute(name); ok {
		return
	}
	for _, a := range session {
		if a.Key == name {
			section.Attributes = append(section.Attributes, a)
		}
	}
}

// inheritExtensions adds the header extensions that are declared for all
// m-sections (RFC 8285 section 6), but for those whose id or URI the section uses
// itself.
func inheritExtensions(section *sdp.MediaDescription, session []sdp.Attribute) {
	for _, a := range session {
		id, uri, ok := parseExtmap(a.Value)
		if a.Key != "extmap" || !ok {
			continue
		}
		used := slices.ContainsFunc(section.Attributes, func(own sdp.Attribute) bool {
			i, u, ok := parseExtmap(own.Value)
			return own.Key == "extmap" && ok && (i == id || u == uri)
		})
		if !used {
			section.Attributes = append(section.Attributes, a)
		}
	}
}

// without returns the attributes that have none of the names.
func without(all []sdp.Attribute, names ...string) []sdp.Attribute {
	return slices.DeleteFunc(slices.Clone(all), func(a sdp.Attribute) bool { return slices.Contains(names, a.Key) })
}

// oneSource returns an m-section's attributes without all but the first of its
// RTP streams, and what repairs that one: older layouts (Plan B) have several
// tracks, or the layers of one (a=ssrc-group:SIM), in one m-section, which a
// PeerConnection refuses. Which streams there are is kept where that is said in
// another way, by rid.
func oneSource(attributes []sdp.Attribute) []sdp.Attribute {
	first, keep := "", map[string]bool{}
	repairs := map[string]string{}
	for _, a := range attributes {
		f := strings.Fields(a.Value)
		if a.Key == "ssrc-group" && len(f) == 3 && f[0] != "SIM" {
			repairs[f[2]] = f[1]
		}
	}
	for _, a := range attributes {
		if f := strings.Fields(a.Value); a.Key == "ssrc" && len(f) > 0 && first == "" && repairs[f[0]] == "" {
			first = f[0]
		}
	}
	keep[first] = true
	for repair, of := range repairs {
		if of == first {
			keep[repair] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(attributes), func(a sdp.Attribute) bool {
		f := strings.Fields(a.Value)
		switch a.Key {
		case "ssrc":
			return len(f) > 0 && !keep[f[0]]
		case "ssrc-group":
			return len(f) != 3 || f[0] == "SIM" || !keep[f[1]]
		}
		return false
	})
}
