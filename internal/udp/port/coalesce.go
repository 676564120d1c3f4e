package port

import "time"

const (
	// coalesceFor is how long datagrams may wait while they are coalesced.
	coalesceFor = 50 * time.Millisecond
	// Datagrams are coalesced when this many come in a coalesceWindow, all of them
	// routine: fewer are not worth a wait.
	coalesceWindow = 100 * time.Millisecond
	coalesceLeast  = 32
)

// A coalescer notices when the sessions do nothing but show that they live. To be
// woken for each of their datagrams costs several times what it takes to answer it,
// so then they are left to gather for a moment.
type coalescer struct {
	active bool
	until  time.Time // the window's end
	number int       // of datagrams in it
}

// isRoutine reports whether a datagram of one of pion's sessions may be routine:
// STUN and RTCP (RFC 7983, RFC 5761) come from those that carry nothing, too.
func isRoutine(b []byte) bool {
	return len(b) < 2 || b[0] < 4 || b[0] >= 128 && b[1] >= 192 && b[1] < 224
}

// note notes that a datagram was read.
func (c *coalescer) note(now time.Time, routine bool) {
	switch {
	case !routine:
		*c = coalescer{until: now.Add(coalesceWindow)}
		return
	case now.After(c.until):
		*c = coalescer{active: c.number >= coalesceLeast, until: now.Add(coalesceWindow)}
	}
	c.number++
}
