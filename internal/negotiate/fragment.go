package negotiate

import (
	"fmt"
	"strings"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/icecheck"
)

// MaxTrickled bounds the candidates that a client may trickle in one ICE
// session: each makes pairs with ours, and memory.
const MaxTrickled = 64

// A Fragment is a trickle ICE SDP fragment (RFC 8840 section 9).
type Fragment struct {
	Ufrag, Pwd string // both or none
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
			f.Candidates = append(f.Candidates, Candidate{Candidate: strings.TrimPrefix(line, "a="), Mid: mid, Index: index})
		case len(line) < 2 || line[1] != '=':
			return f, fmt.Errorf("%w: sdp fragment line %q", cdn.ErrInvalid, line)
		}
	}
	if f.Ufrag == "" && f.Pwd == "" {
		return f, nil
	}
	if err := (icecheck.Credentials{Ufrag: f.Ufrag, Pwd: f.Pwd}).Check(); err != nil {
		return f, fmt.Errorf("%w: sdp fragment: %w", cdn.ErrInvalid, err)
	}
	return f, nil
}
