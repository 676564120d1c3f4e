package format

import (
	"slices"
	"strings"
)

// essential are the parameters that tell formats of one codec apart.
var essential = []string{"profile-level-id", "packetization-mode", "profile-id", "profile-space", "profile"}

// String names the format, with the parameters that tell formats of one codec
// apart: "video/H264 packetization-mode=1;profile-level-id=640c34".
func (f Format) String() string {
	var kept []string
	for one := range strings.SplitSeq(f.Fmtp, ";") {
		key, _, _ := strings.Cut(strings.TrimSpace(one), "=")
		if slices.ContainsFunc(essential, func(e string) bool { return strings.EqualFold(e, strings.TrimSpace(key)) }) {
			kept = append(kept, strings.TrimSpace(one))
		}
	}
	return strings.TrimSpace(f.MimeType + " " + strings.Join(kept, ";"))
}

// mostListed bounds what [List] names.
const mostListed = 16

// List names formats for people, each once, and no more of them than can be read.
func List(all []Format) string {
	var names []string
	for _, f := range all {
		s := f.String()
		if slices.Contains(names, s) {
			continue
		}
		if len(names) == mostListed {
			names = append(names, "…")
			break
		}
		names = append(names, s)
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}
