package format

import "strings"

// configuration are the parameters that an answer has to have as the offer has
// them (RFC 6184 section 8.2.2, RFC 7798 section 7.2.2).
var configuration = []string{
	"profile-level-id", "packetization-mode", "level-asymmetry-allowed", // H.264
	"profile-space", "profile-id", "tier-flag", "level-id", "interop-constraints", "profile-compatibility-indicator", // H.265, VP9
	"profile", "level-idx", "tier", // AV1
}

// Answer returns the parameters that answer a receiver that offers f, to which
// sent is sent: those that were published, since they may hold what a decoder
// needs (sprop-parameter-sets, stereo). Where the receiver's profile or mode is
// another one, which contains what is sent, those that describe it stay as
// offered: an answer must not change them.
func (f Format) Answer(sent Format) string {
	if d, ok := f.Takes(sent); !ok || d < otherMode || sent.Fmtp == "" {
		return or(sent.Fmtp, f.Fmtp)
	}
	offered := parameters(f.Fmtp)
	var out []string
	for one := range strings.SplitSeq(sent.Fmtp, ";") {
		key, _, _ := strings.Cut(one, "=")
		if _, ok := offered[strings.ToLower(strings.TrimSpace(key))]; !ok || !isConfiguration(key) {
			out = append(out, strings.TrimSpace(one))
		}
	}
	for one := range strings.SplitSeq(f.Fmtp, ";") {
		if key, _, _ := strings.Cut(one, "="); isConfiguration(key) {
			out = append(out, strings.TrimSpace(one))
		}
	}
	return strings.Join(out, ";")
}

func isConfiguration(key string) bool {
	key = strings.TrimSpace(key)
	for _, one := range configuration {
		if strings.EqualFold(one, key) {
			return true
		}
	}
	return false
}
