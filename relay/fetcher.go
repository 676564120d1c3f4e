package relay

import (
	"context"

	"github.com/deltacdn/delta/cdn"
)

// A Fetcher brings one stream from another node. Fetch adds an input to s, feeds it, and
// returns when that has ended; ctx ends it. Errors wrap the sentinels of package cdn: with
// [cdn.ErrEnded] the publisher has ended the stream, with [cdn.ErrNotFound] the node does
// not have it, and all others may pass. Fetch is called concurrently for different
// streams.
type Fetcher interface {
	Fetch(ctx context.Context, from cdn.Entry, r cdn.Request, s *cdn.Stream) error
}

// A LinkFetcher is a [Fetcher] with standing connections to nodes, as [Link] is. A [Relay]
// whose Fetcher has these methods, too, uses them: it has connections ready ahead of the
// first request, asks nodes that cannot be reached last, leaves a silent node only for one
// that has more, and moves streams to better nodes. The methods may be called concurrently.
type LinkFetcher interface {
	// Keep keeps a connection to a node ready until ctx ends.
	Keep(ctx context.Context, to cdn.Entry)
	// Reaches reports whether a node can be reached, and whether that is known. It does
	// not ask the node, nor block.
	Reaches(to cdn.Entry) (yes, known bool)
	// Probe finds out whether a node has more of a stream than comes from another node,
	// while that goes on: it returns nil as soon as media comes that s does not have. If
	// it fails with an error wrapping [cdn.ErrUnsupported], a silent node is left for the
	// next, unless it says that the publisher is there.
	Probe(ctx context.Context, from cdn.Entry, r cdn.Request, s *cdn.Stream) error
	// Move is Fetch of a stream that comes from another node still: it is continued
	// without a frame left out or shown twice.
	Move(ctx context.Context, from cdn.Entry, r cdn.Request, s *cdn.Stream) error
}
