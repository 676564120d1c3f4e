// Package keyreq arbitrates keyframe requests for one layer: its sender sees at
// most one a window, repeated until a keyframe comes.
package keyreq

import "time"

// Config tunes an [Arbiter].
type Config struct {
	// Window is the least time between two requests. If zero, 500 ms.
	Window time.Duration
	// Patience is how many requests without effect are made at that pace; then
	// the sender is taken for one that ignores them. If zero, 20.
	Patience int
	// SlowWindow is the pace from then on. If zero, 5 s.
	SlowWindow time.Duration
}

// An Arbiter collects the requests for one layer. It is not safe for
// concurrent use.
type Arbiter struct {
	config  Config
	pending bool
	sent    time.Time // the last one; zero: none yet
	tries   int       // since the last keyframe
}

// New returns an arbiter that was asked for nothing.
func New(c Config) *Arbiter {
	if c.Window <= 0 {
		c.Window = 500 * time.Millisecond
	}
	if c.Patience <= 0 {
		c.Patience = 20
	}
	if c.SlowWindow <= 0 {
		c.SlowWindow = 5 * time.Second
	}
	return &Arbiter{config: c}
}

// Request asks for a keyframe and returns when [Arbiter.Due] wants to be
// called: at once, or at the end of the window, to which it is deferred.
func (a *Arbiter) Request(now time.Time) (next time.Time) {
	if !a.pending {
		a.pending = true
	}
	return a.next(now)
}

// Keyframe notes that a keyframe has begun to arrive: all that was asked for
// before is satisfied.
func (a *Arbiter) Keyframe(time.Time) { a.pending, a.tries = false, 0 }

// Due reports whether a request is to be sent now, and when to call again;
// zero: not before the next Request.
func (a *Arbiter) Due(now time.Time) (send bool, next time.Time) {
	if !a.pending {
		return false, time.Time{}
	}
	if at := a.next(now); at.After(now) {
		return false, at
	}
	a.sent = now
	a.tries++
	return true, a.next(now)
}

func (a *Arbiter) next(now time.Time) time.Time {
	if a.sent.IsZero() {
		return now
	}
	window := a.config.Window
	if a.tries > a.config.Patience {
		window = a.config.SlowWindow
	}
	if at := a.sent.Add(window); at.After(now) {
		return at
	}
	return now
}
