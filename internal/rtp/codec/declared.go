package codec

import (
	"encoding/base64"
	"strings"

	"github.com/deltacdn/delta/internal/sdp/format"
)

// longestDeclared bounds a parameter set that is declared, in bytes: it has to fit into a
// packet.
const longestDeclared = 1200

// DeclaredSets returns the parameter sets that a format's parameters have, as a=fmtp writes
// them (RFC 6184 section 8.1, RFC 7798 section 7.1): each as the payload of a packet, and its
// kind. Some senders put them nowhere else. What cannot be read is left out.
func DeclaredSets(mime, fmtp string) (payloads [][]byte, kinds []Sets) {
	inspect := For(mime)
	var names []string
	switch strings.ToLower(mime) {
	case "video/h264":
		names = []string{"sprop-parameter-sets"}
	case "video/h265":
		names = []string{"sprop-vps", "sprop-sps", "sprop-pps"}
	}
	for _, name := range names {
		for one := range strings.SplitSeq(format.Parameter(fmtp, name), ",") {
			set, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(strings.TrimSpace(one), "="))
			if err != nil || len(set) > longestDeclared {
				continue
			}
			if info := inspect(set); info.Parameters != 0 && !info.Mixed {
				payloads, kinds = append(payloads, set), append(kinds, info.Parameters)
			}
		}
	}
	return payloads, kinds
}
