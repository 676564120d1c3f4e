package cdn

import (
	"context"
	"errors"
	"slices"
	"sync"
)

// A Source opens live streams by name: an origin has those published to it, a
// relay fetches them from other nodes, and an edge plays those of the Source
// that it was given. Open is called concurrently.
type Source interface {
	// Open returns the stream at once, perhaps while it is still being
	// fetched ([Stream.Ready] tells when it is there), or fails with an error
	// wrapping [ErrNotFound]. The Subscription stands for the caller's demand
	// and must be closed.
	Open(ctx context.Context, r Request) (*Subscription, error)
}

// A Notifier is a [Source] that says when it has a stream more than before, so that
// nobody who waits for one has to ask again and again.
type Notifier interface {
	// Changed returns a channel that is closed when the next stream has come. The
	// caller takes it before it asks for a stream.
	Changed() <-chan struct{}
}

// A FetchingSource is a [Source] that says whether it brings streams from other nodes.
// A node that serves such a Source is a relay to others.
type FetchingSource interface {
	Fetches() bool
}

// A Request says which stream is wanted, and how the request came here.
type Request struct {
	Stream StreamID
	// Path lists the nodes that this request came through, the first requester
	// first. A node that finds itself on it refuses with [ErrLoop].
	Path []NodeID
}

// A Subscription is a share of the demand for a stream: while one is open,
// its Source keeps the stream coming. Its methods may be called concurrently.
type Subscription struct {
	stream *Stream
	once   sync.Once
	close  func()
}

// NewSubscription is for implementations of [Source]: it ties the demand for
// s, which release gives back, to a Subscription. A nil release is allowed.
func NewSubscription(s *Stream, release func()) *Subscription {
	return &Subscription{stream: s, close: release}
}

// Stream returns the stream subscribed to.
func (s *Subscription) Stream() *Stream { return s.stream }

// Close gives the demand back. Only the first call counts.
func (s *Subscription) Close() {
	s.once.Do(func() {
		if s.close != nil {
			s.close()
		}
	})
}

// First returns a Source that asks each of sources in turn and takes the first
// that does not answer [ErrNotFound].
func First(sources ...Source) Source { return first(sources) }

type first []Source

// Changed is that of the first source that is a [Notifier]: origins are, and the
// others are asked again and again.
func (f first) Changed() <-chan struct{} {
	for _, s := range f {
		if n, ok := s.(Notifier); ok {
			return n.Changed()
		}
	}
	return nil
}

// Fetches reports whether one of the sources is a [FetchingSource] that fetches.
func (f first) Fetches() bool {
	return slices.ContainsFunc(f, func(s Source) bool {
		x, ok := s.(FetchingSource)
		return ok && x.Fetches()
	})
}

func (f first) Open(ctx context.Context, r Request) (*Subscription, error) {
	var last error = &Error{Op: "open", Stream: r.Stream, Err: ErrNotFound}
	for _, s := range f {
		sub, err := s.Open(ctx, r)
		if err == nil {
			return sub, nil
		}
		last = err
		if !errors.Is(err, ErrNotFound) {
			break
		}
	}
	return nil, last
}
