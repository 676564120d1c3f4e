// Package reason has the words by which nodes tell each other why something
// ends: in an RTCP BYE (RFC 3550 section 6.6), and on links.
package reason

import (
	"errors"
	"fmt"

	"github.com/deltacdn/delta/cdn"
)

var words = []struct {
	word string
	err  error
}{
	{"ended", cdn.ErrEnded},
	{"superseded", cdn.ErrSuperseded},
	{"too slow", cdn.ErrTooSlow},
	{"unauthorized", cdn.ErrUnauthorized},
	{"forbidden", cdn.ErrForbidden},
	{"codec changed", cdn.ErrNoCommonCodec},
	{"not found", cdn.ErrNotFound},
	{"loop", cdn.ErrLoop},
	{"over limit", cdn.ErrOverLimit},
	{"stale", cdn.ErrStale},
	{"unsupported", cdn.ErrUnsupported},
	{"invalid", cdn.ErrInvalid},
	{"lost", cdn.ErrPeerLost},
	{"timeout", cdn.ErrTimeout},
	{"closed", cdn.ErrClosed},
}

// Word returns the word for err.
func Word(err error) string {
	for _, w := range words {
		if errors.Is(err, w.err) {
			return w.word
		}
	}
	return "failed"
}

// Error returns the error that a word stands for. One that is not known counts
// as [cdn.ErrPeerLost].
func Error(word string) error {
	for _, w := range words {
		if w.word == word {
			return w.err
		}
	}
	return fmt.Errorf("%w: %s", cdn.ErrPeerLost, word)
}
