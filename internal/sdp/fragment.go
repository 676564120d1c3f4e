package sdp

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/deltacdn/delta/cdn"
)

// MaxTrickled bounds the candidates of a client that count in one ICE session: each makes
// pairs with ours, and memory. A client whose networks come and go has more in time, and
// those beyond are dropped as others that are of no use.
const MaxTrickled = 64

// A Fragment is a trickle ICE SDP fragment (RFC 8840 section 9).
type Fragment struct {
	Ufrag, Pwd string // both or none
	// Candidates are those that a check can be sent to, MaxTrickled at most. Others are
	// dropped without a word, as RFC 9725 section 4.3.2 wants it.
	Candidates []Candidate
}

// A Candidate is one of a fragment.
type Candidate struct {
	Candidate string  // "candidate:…"
	Mid       *string // of its m-section
	Index     *uint16 // of its m-section
}

// ParseFragment reads a fragment. Errors wrap [cdn.ErrInvalid].
func ParseFragment(text string) (Fragment, error) {
	var f Fragment
	var mid *string
	var index *uint16
	for line := range strings.SplitSeq(text, "\n") {
		line = strings.TrimSpace(line)
		key, value, _ := strings.Cut(line, ":")
		switch {
		case line == "":
		case strings.HasPrefix(line, "m="):
			next := uint16(0)
			if index != nil {
				next = *index + 1
			}
			index, mid = &next, nil
		case key == "a=mid":
			mid = &value
		case key == "a=ice-ufrag":
			f.Ufrag = value
		case key == "a=ice-pwd":
			f.Pwd = value
		case key == "a=candidate":
			if reachable(value) && len(f.Candidates) < MaxTrickled {
				f.Candidates = append(f.Candidates, Candidate{Candidate: strings.TrimPrefix(line, "a="), Mid: mid, Index: index})
			}
		case len(line) < 2 || line[1] != '=':
			return f, badFragment(fmt.Errorf("%w: sdp fragment line %q", cdn.ErrInvalid, line))
		}
	}
	if f.Ufrag == "" && f.Pwd == "" {
		return f, nil
	}
	if err := CheckCredentials(f.Ufrag, f.Pwd); err != nil {
		return f, badFragment(fmt.Errorf("%w: sdp fragment: %w", cdn.ErrInvalid, err))
	}
	return f, nil
}

// CheckCredentials returns an error for ICE credentials that are shorter or longer
// than allowed (RFC 8839 section 5.4). The length matters: whoever signals them has us
// send them to where checks seem to come from.
func CheckCredentials(ufrag, pwd string) error {
	const leastUfrag, leastPwd, most = 4, 22, 256
	if u, p := len(ufrag), len(pwd); u < leastUfrag || u > most || p < leastPwd || p > most {
		return fmt.Errorf("a user name fragment of %d characters and a password of %d", u, p)
	}
	return nil
}

func badFragment(err error) error {
	return &cdn.Error{Op: "read fragment", Err: err, Detail: "The fragment is malformed (RFC 8840 section 9)."}
}

// reachable reports whether a check can be sent to a candidate (RFC 8839 section
// 5.1): RTP over UDP to an IP address. A name is never looked up, since the client
// would choose whom we ask; its own checks show where it is.
func reachable(candidate string) bool {
	f := strings.Fields(candidate)
	if len(f) < 8 || f[1] != "1" || !strings.EqualFold(f[2], "udp") || f[6] != "typ" {
		return false
	}
	if _, err := strconv.ParseUint(f[3], 10, 32); err != nil {
		return false
	}
	addr, err := netip.ParseAddr(f[4])
	port, portErr := strconv.ParseUint(f[5], 10, 16)
	return err == nil && portErr == nil && port > 0 && !addr.IsUnspecified() && !addr.IsMulticast()
}
