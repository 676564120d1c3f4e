// Package cdn has the nouns of a CDN and the contracts between its parts: a
// [Node], its [Stream]s with tracks and layers, the [Input]s that feed them, and
// [Source], [Directory] and [Authorizer]. Begin with [Listen]; origins, relays
// and edges are services on a Node, in packages of their own.
package cdn
