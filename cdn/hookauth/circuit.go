package hookauth

import "time"

const (
	failuresToOpen = 5
	firstPause     = time.Second
	lastPause      = 30 * time.Second
)

// A circuit keeps requests from a hook that fails: after 5 failures in a row none is
// made for 1 s, then one, and while that fails, too, for 2 s, 4 s and so on up to 30 s. It
// has no lock of its own.
type circuit struct {
	failures int // in a row
	pause    time.Duration
	until    time.Time // no request before, but one after
	probing  bool      // that one goes on
}

func (c *circuit) open() bool { return c.failures >= failuresToOpen }

// may reports whether a request may be made. Its result is owed to done.
func (c *circuit) may(now time.Time) bool {
	if !c.open() {
		return true
	}
	if c.probing || now.Before(c.until) {
		return false
	}
	c.probing = true
	return true
}

// done takes the result of a request.
func (c *circuit) done(now time.Time, ok bool) {
	c.probing = false
	if ok {
		*c = circuit{}
		return
	}
	c.failures++
	if c.open() && !now.Before(c.until) {
		c.pause = min(max(2*c.pause, firstPause), lastPause)
		c.until = now.Add(c.pause)
	}
}
