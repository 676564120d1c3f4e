// Package cdn has the nouns of a CDN and the contracts between its parts.
//
// A [Node] is one process: an identity, and one UDP port that all its sessions share.
// [Listen] opens it. Services are built on a node: package origin takes publishers,
// package relay fetches streams from other nodes, and package edge serves viewers. They
// meet only at [Source], by which one of them opens a stream of another.
//
// A [Stream] has [Track]s, and a track has [Layer]s: the encodings of a simulcast, or
// the only one. A layer keeps the newest packets, once for all who read it. An [Input]
// writes them: a publisher's session, or a fetch from another node. Another input can
// take its place without anything that receivers notice.
//
// To watch or record a stream in Go, see [Track.Reader]. To build a service, see
// [Node.NewStream] for one that brings streams, [Stream.Attach] and [Layer.Live] for one
// that reads them, [Node.Authorize] for who may, [Node.Announce] for how other nodes
// find a stream, and [Node.Own] for the end.
//
// [Directory], [Authorizer], [Network] and [Tracer] are contracts that users implement.
// Package cdntest tests implementations.
package cdn
