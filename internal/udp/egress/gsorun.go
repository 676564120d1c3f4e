package egress

import "net/netip"

const (
	maxSegments     = 64     // of a kernel message: UDP_MAX_SEGMENTS of older kernels
	maxMessageBytes = 60_000 // of a kernel message of more than one datagram
)

// A gsoRun is consecutive datagrams for one destination that can travel as one
// message: all but the last have one size, the last is not longer.
type gsoRun struct {
	to    netip.AddrPort
	bytes []byte // of the batch's arena
	size  int    // of each datagram but the last
	full  bool   // the last one is shorter: no other may follow
	// split: the kernel refused these datagrams as one message.
	split bool
}

// takes reports whether n bytes for a destination can go on the run.
func (r *gsoRun) takes(to netip.AddrPort, n int) bool {
	return !r.full && n <= r.size &&
		len(r.bytes)+n <= min(maxSegments*r.size, maxMessageBytes) &&
		to == r.to
}

// add puts the next n bytes of the arena on the run.
func (r *gsoRun) add(n int) {
	r.bytes = r.bytes[:len(r.bytes)+n]
	r.full = n < r.size
}

// count returns how many datagrams there are.
func (r *gsoRun) count() int { return (len(r.bytes) + r.size - 1) / r.size }

// first returns the first datagram.
func (r *gsoRun) first() []byte { return r.bytes[:min(r.size, len(r.bytes))] }

// skip takes n bytes, which are whole datagrams, off the front of runs.
func skip(runs []gsoRun, n int) []gsoRun {
	runs[0].bytes = runs[0].bytes[n:]
	if len(runs[0].bytes) == 0 {
		return runs[1:]
	}
	return runs
}
