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
	{"upstream", cdn.ErrUpstream},
	{"unavailable", cdn.ErrUnavailable},
	{"closed", cdn.ErrClosed},
}

// refusals are the reasons that lie with the requester. From another node they are about
// this one, and not about the client that wants the stream.
var refusals = []error{
	cdn.ErrUnauthorized, cdn.ErrForbidden, cdn.ErrInvalid, cdn.ErrAlreadyPublishing, cdn.ErrStale, cdn.ErrSuperseded, cdn.ErrTooSlow,
	cdn.ErrUnsupported,
}

// Refused returns which reason an error has that lies with the requester, nil if none.
func Refused(err error) error {
	for _, reason := range refusals {
		if errors.Is(err, reason) {
			return reason
		}
	}
	return nil
}

// Upstream returns what err, for which a stream cannot be had from other nodes, is
// to a client of this node: [cdn.ErrUpstream] if the reason lies with this node as
// the requester, and err itself otherwise.
func Upstream(stream cdn.StreamID, err error) error {
	if Refused(err) == nil {
		return err
	}
	e := &cdn.Error{Op: "fetch", Stream: stream, Err: fmt.Errorf("%w: %s", cdn.ErrUpstream, err.Error())}
	var told *cdn.Error
	for at := err; errors.As(at, &told); at = told.Err {
		if told.Remote() {
			e.Node = told.Node
			break
		}
	}
	return e
}

// Failed is the word for an error that wraps no sentinel of package cdn, such as a
// failure of an Authorizer.
const Failed = "failed"

// Word returns the word for err. Of its text the word has nothing.
func Word(err error) string {
	for _, w := range words {
		if errors.Is(err, w.err) {
			return w.word
		}
	}
	return Failed
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
