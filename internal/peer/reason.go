package peer

import (
	"errors"
	"fmt"

	"github.com/deltacdn/delta/cdn"
)

// reasons are the words that go into an RTCP BYE (RFC 3550 section 6.6), by
// which a node learns why another one ends a stream.
var reasons = []struct {
	word string
	err  error
}{
	{"ended", cdn.ErrEnded},
	{"superseded", cdn.ErrSuperseded},
	{"too slow", cdn.ErrTooSlow},
	{"unauthorized", cdn.ErrUnauthorized},
	{"codec changed", cdn.ErrNoCommonCodec},
	{"lost", cdn.ErrPeerLost},
	{"timeout", cdn.ErrTimeout},
	{"closed", cdn.ErrClosed},
}

// Reason returns the word for err.
func Reason(err error) string {
	for _, r := range reasons {
		if errors.Is(err, r.err) {
			return r.word
		}
	}
	return "failed"
}

// ReasonError returns the error that the word stands for.
func ReasonError(word string) error {
	for _, r := range reasons {
		if r.word == word {
			return r.err
		}
	}
	return fmt.Errorf("%w: %s", cdn.ErrPeerLost, word)
}
