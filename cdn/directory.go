package cdn

import (
	"context"
	"iter"
	"time"
)

// A Directory records which node can serve which stream. Implementations are
// plain stores: renewing a lease, and stopping to, is done by the [Node].
// All methods are called concurrently. [cdntest.TestDirectory] is the
// contract in executable form.
//
// [cdntest.TestDirectory]: https://pkg.go.dev/github.com/deltacdn/delta/cdn/cdntest#TestDirectory
type Directory interface {
	// Put records e for ttl, replacing what the same node announced for the
	// same stream. It fails with an error wrapping [ErrStale] when an entry of
	// the same stream and publication with a higher epoch is there; an entry
	// of a higher epoch of the same publication removes lower ones.
	Put(ctx context.Context, e Entry, ttl time.Duration) error
	// Remove removes the entry with e's Stream, Node and Epoch. To remove one
	// that is not there is no error.
	Remove(ctx context.Context, e Entry) error
	// Find returns the entries of a stream whose lease has not run out,
	// nearest to the publisher (fewest Hops) first. None: empty, nil.
	Find(ctx context.Context, id StreamID) ([]Entry, error)
}

// A Watcher is a Directory that can also tell changes as they happen.
type Watcher interface {
	// Watch yields the entries of a stream now and after each change, until
	// ctx ends or the loop is left. An error ends the sequence.
	Watch(ctx context.Context, id StreamID) iter.Seq2[[]Entry, error]
}

// Entry is one node's announcement that it can serve a stream.
type Entry struct {
	Stream StreamID
	Node   NodeID
	// URL is the base URL of the node's signaling, without a trailing slash:
	// "https://o-eu1.example.com".
	URL string
	// Publication names the publisher's run of the stream; two origins fed by
	// one redundant publisher share it.
	Publication string
	// Epoch is the publication's: it rises when a new one supersedes it.
	Epoch uint64
	// Hops is how many nodes stand between the publisher and this one: 0 for
	// an origin.
	Hops int
	// Load is the share of the node's capacity in use, 0 to 1; 0 if unknown.
	Load float64
	// Tracks describes the stream, if that is known.
	Tracks []TrackInfo
}
