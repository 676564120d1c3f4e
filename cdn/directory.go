package cdn

import (
	"context"
	"iter"
	"net/netip"
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

// A NodeDirectory is a Directory that also records the nodes themselves: who would
// fetch any stream for other nodes, who plays to viewers, and how far each is from
// the origins. Without it, a stream comes from its origin or from the nodes that have
// it already, or from those of [Static] or [DNS].
type NodeDirectory interface {
	// PutNode records n for ttl, replacing what the same node announced before. It
	// fails with an error wrapping [ErrInvalid] for an entry without a node.
	PutNode(ctx context.Context, n NodeEntry, ttl time.Duration) error
	// RemoveNode removes the entry of a node. To remove one that is not there is no
	// error.
	RemoveNode(ctx context.Context, id NodeID) error
	// Nodes returns the nodes whose lease has not run out, in the order of their
	// names. None: empty, nil.
	Nodes(ctx context.Context) ([]NodeEntry, error)
}

// A NodeEntry is a node's announcement of itself. Of the nodes of [Static] and [DNS]
// only the place is known.
type NodeEntry struct {
	Node NodeID
	// URL is the base URL of the node's signaling, without a trailing slash.
	URL string
	// At is the address at which the URL is asked, as in [Entry].
	At netip.Addr
	// Addrs are where the node's UDP port answers STUN Binding requests (RFC 8489),
	// by which others measure the round trip to it. Empty: it is not measured.
	Addrs []netip.AddrPort
	// Roles are what the node does.
	Roles Roles
	// Group names where the node is, such as a region or a provider; "": nowhere in
	// particular.
	Group string
	// Load is the share of the node's capacity in use, 0 to 1; 1: it is full.
	Load float64
	// Draining: the node is leaving, and takes nothing on.
	Draining bool
	// Origins are the nearest origins that the node knows, and how far they are.
	// There are at most [MaxOrigins].
	Origins []OriginLatency
}

// MaxOrigins bounds [NodeEntry].Origins.
const MaxOrigins = 16

// OriginLatency is how long media takes from an origin to a node.
type OriginLatency struct {
	Origin  NodeID
	Latency time.Duration // one way
}

// Roles are what a node does, as a set.
type Roles uint8

// The roles.
const (
	// RoleOrigin: it takes publishers.
	RoleOrigin Roles = 1 << iota
	// RoleRelay: it would fetch any stream for another node.
	RoleRelay
	// RoleEdge: it plays any stream to viewers.
	RoleEdge
)

// Has reports whether all of the roles in other are in r.
func (r Roles) Has(other Roles) bool { return r&other == other }

// Entry is one node's announcement that it can serve a stream.
type Entry struct {
	Stream StreamID
	Node   NodeID
	// URL is the base URL of the node's signaling, without a trailing slash:
	// "https://o-eu1.example.com".
	URL string
	// At is the address at which the URL is asked, where the name in it stands for
	// several nodes ([DNS]); the port is the URL's. The zero value: whatever the name
	// stands for. It is for this node alone: no directory stores it.
	At netip.Addr
	// Publication names the publisher's run of the stream; two origins fed by
	// one redundant publisher share it.
	Publication string
	// Epoch is the publication's: it rises when a new one supersedes it.
	Epoch uint64
	// Hops is how many nodes stand between the publisher and this one: 0 for
	// an origin.
	Hops int
	// Path lists the nodes that the stream comes through, the origin first; empty for
	// the origin itself, and where that is not known.
	Path []NodeID
	// Latency is how long media takes from the origin to the node; 0 for the origin,
	// and where that is not known.
	Latency time.Duration
	// Load is the share of the node's capacity in use, 0 to 1; 0 if unknown, 1 if the
	// node is full.
	Load float64
	// Tracks describes the stream, if that is known.
	Tracks []TrackInfo
}
