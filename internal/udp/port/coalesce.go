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

const (
	// moderateFor is how long datagrams may wait while reads are moderated. Go's poller
	// waits for no less.
	moderateFor = time.Millisecond
	// Reads are moderated once the reader was woken so often in a moderateWindow, and for
	// as long as so many datagrams come in one.
	moderateWindow = 20 * time.Millisecond
	moderateWakes  = 60
	moderateLeast  = 40
)

// A moderation notices when the reader is woken so often that waking takes more of the
// processor than what it is woken for: by dozens of publishers, or by the feedback of
// hundreds of viewers. Then it lets datagrams gather for a moment, as network cards hold
// back interrupts.
type moderation struct {
	active    bool
	until     time.Time // the window's end
	wakes     int       // in it
	datagrams int       // in it
}

// woke notes that the reader was woken, and what it read.
func (m *moderation) woke(now time.Time, datagrams int) {
	if now.After(m.until) {
		active := m.wakes >= moderateWakes || m.active && m.datagrams >= moderateLeast
		*m = moderation{active: active, until: now.Add(moderateWindow)}
	}
	m.wakes++
	m.datagrams += datagrams
}

// coalesceReads lets datagrams gather ahead of the next read: for a while if all of them are
// routine, and for a millisecond if there are very many. A kick ends the wait.
func (p *Port) coalesceReads() {
	select {
	case <-p.kicked:
		p.coalesce.note(time.Now(), false)
	default:
	}
	wait := p.readsWait()
	if wait == 0 || !p.socket.Pause() {
		return
	}
	if p.pause == nil {
		p.pause = time.NewTimer(wait)
	} else {
		p.pause.Reset(wait)
	}
	select {
	case <-p.pause.C:
	case <-p.kicked:
		p.pause.Stop()
		p.coalesce.note(time.Now(), false)
	}
}

// readsWait returns how long datagrams may gather.
func (p *Port) readsWait() time.Duration {
	switch {
	case p.coalesce.active:
		return coalesceFor
	case p.moderate.active:
		return moderateFor
	}
	return 0
}
