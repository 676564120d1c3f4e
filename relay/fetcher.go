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

// A Keeper is a [Fetcher] that can be made ready for a node ahead of the first request.
// Keep keeps it ready until ctx ends.
type Keeper interface {
	Keep(ctx context.Context, to cdn.Entry)
}

// A Reacher is a [Fetcher] that may know whether a node can be reached without asking it.
// Nodes that cannot are asked last.
type Reacher interface {
	Reaches(to cdn.Entry) (yes, known bool)
}

// A Prober is a [Fetcher] that can find out whether a node has more of a stream than
// comes from another node, while that goes on. Without it, or where Probe fails with an
// error wrapping [cdn.ErrUnsupported], a silent node is left for the next, unless it says
// that the publisher is there.
type Prober interface {
	// Probe returns nil as soon as media comes that s does not have.
	Probe(ctx context.Context, from cdn.Entry, r cdn.Request, s *cdn.Stream) error
}

// A Mover is a [Fetcher] that can have a stream come from another node while it still
// comes from one, without a frame left out or shown twice. Apart from that, Move is Fetch.
type Mover interface {
	Move(ctx context.Context, from cdn.Entry, r cdn.Request, s *cdn.Stream) error
}
