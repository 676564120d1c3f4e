// Package delta is the root of an embeddable library for low-latency WebRTC
// content delivery networks.
//
// A publisher sends a live stream to an origin; edges fetch it on the first
// viewer's request and fan it out to viewers; relays stand between them, so
// that one origin feeds any number of edges. The pieces are packages to be
// composed: start with [github.com/deltacdn/delta/cdn], and see
// examples/threenode for a whole network in one process.
package delta
