package port

import "time"

const (
	// lullPause is how long datagrams may wait in a lull.
	lullPause = 50 * time.Millisecond
	// In a lull this many come in a lullWindow, all of them routine: fewer are
	// not worth a wait.
	lullWindow = 100 * time.Millisecond
	lullEnough = 32
)

// A lull is when the sessions do nothing but show that they live. To be woken for
// each of their datagrams costs several times what it takes to answer it; so
// then they are left to gather for a moment.
type lull struct {
	lasts  bool
	until  time.Time // the window's end
	number int       // of datagrams in it
}

// isRoutine reports whether a datagram of a session of pion's may be routine:
// STUN and RTCP (RFC 7983, RFC 5761) come from those that carry nothing, too.
func isRoutine(b []byte) bool {
	return len(b) < 2 || b[0] < 4 || b[0] >= 128 && b[1] >= 192 && b[1] < 224
}

// note notes that a datagram was read.
func (l *lull) note(now time.Time, routine bool) {
	switch {
	case !routine:
		*l = lull{until: now.Add(lullWindow)}
		return
	case now.After(l.until):
		*l = lull{lasts: l.number >= lullEnough, until: now.Add(lullWindow)}
	}
	l.number++
}
