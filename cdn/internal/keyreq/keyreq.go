// Package keyreq arbitrates keyframe requests: however many ask, by picture
// loss indication (RFC 4585 section 6.3.1) or full intra request (RFC 5104
// section 4.3.1) alike, the sender of one layer is asked at most once a window,
// and again each window until it has sent a keyframe. RFC 8834 section 5.1
// wants both kinds of request understood.
package keyreq

import "time"

// Config tunes an [Arbiter].
type Config struct {
	// Window is the least time between two requests that are sent, and how
	// long a keyframe is waited for before the next. If zero, 500 ms.
	Window time.Duration
	// Tries is how many requests are sent without effect before the pace
	// becomes that of Slow. If zero, 20.
	Tries int
	// Slow is the time between requests to a sender that ignores them. If
	// zero, 5 s; never less than Window.
	Slow time.Duration
}

func (c Config) withDefaults() Config {
	if c.Window <= 0 {
		c.Window = 500 * time.Millisecond
	}
	if c.Tries <= 0 {
		c.Tries = 20
	}
	if c.Slow <= 0 {
		c.Slow = 5 * time.Second
	}
	c.Slow = max(c.Slow, c.Window)
	return c
}

// Stats counts since the arbiter was made.
type Stats struct {
	Requested uint64 // requests that came
	Sent      uint64 // requests to send that Due returned
	Satisfied uint64 // keyframes that ended a wait
}

// An Arbiter stands between those who want a keyframe of one layer and the one
// who can make it. It is not safe for concurrent use and does not allocate.
type Arbiter struct {
	config Config // static after New

	pending  bool
	earliest time.Time // of the pending requests
	sent     time.Time // the last one sent; zero: none yet
	tries    int       // sent since the last keyframe
	stats    Stats
}

// New returns an arbiter with nothing pending.
func New(c Config) *Arbiter { return &Arbiter{config: c.withDefaults()} }

// Request notes that someone needs a keyframe, and returns when to call
// [Arbiter.Due]: now, or at the end of the window of an earlier request.
func (a *Arbiter) Request(now time.Time) (next time.Time) {
	a.stats.Requested++
	if !a.pending {
		a.pending, a.earliest = true, now
	}
	if next = a.next(); next.Before(now) {
		return now
	}
	return next
}

// Keyframe notes that a keyframe began at start, which may lie in the past if
// that became known later (its first packet was repaired). It satisfies all
// who wait, if it began no earlier than the first of them asked: whoever asked
// while it was under way can use it as well. Any keyframe proves that the
// sender makes some, and ends the slow pace.
func (a *Arbiter) Keyframe(start time.Time) {
	a.tries = 0
	if a.pending && !start.Before(a.earliest) {
		a.pending = false
		a.stats.Satisfied++
	}
}

// Resume notes that the sender is heard again after a silence: that it left
// requests without an answer meanwhile tells nothing, so the slow pace ends.
func (a *Arbiter) Resume() { a.tries = 0 }

// Unseen notes a frame of a sender whose keyframes cannot be recognised. Nobody
// will see whether a request had its effect, so one that was sent is not
// repeated: receivers ask again.
func (a *Arbiter) Unseen() {
	if a.pending && !a.sent.Before(a.earliest) {
		a.pending = false
	}
	a.tries = 0
}

// Due reports whether to send a request now, which it counts as sent, and
// returns when it next wants to be called: zero means that nothing is pending.
func (a *Arbiter) Due(now time.Time) (send bool, next time.Time) {
	if !a.pending {
		return false, time.Time{}
	}
	if now.Before(a.next()) {
		return false, a.next()
	}
	a.sent = now
	a.tries++
	a.stats.Sent++
	return true, a.next()
}

// Stats returns the counts so far.
func (a *Arbiter) Stats() Stats { return a.stats }

// next is when the pending requests may go out.
func (a *Arbiter) next() time.Time {
	if a.sent.IsZero() {
		return a.earliest
	}
	if a.tries >= a.config.Tries {
		return a.sent.Add(a.config.Slow)
	}
	return a.sent.Add(a.config.Window)
}
