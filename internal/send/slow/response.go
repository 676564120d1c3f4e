package slow

import "time"

// stable is how long after Up the path has to look good for Up to have been right.
const stable = 10 * time.Second

// A response turns signs into verdicts: when to go down, and how long to wait until going
// up again.
type response struct {
	config Config
	lowest bool // there is no lower layer

	downs int           // for which no Up has followed
	hold  time.Duration // the least time from the next Down to Up
	down  time.Time     // the last Down
	retry time.Time     // the earliest time of the next Up
	up    time.Time     // the last Up; zero: none since the last Down
}

// isSettling reports whether feedback is still about the time before Down.
func (r *response) isSettling(now time.Time) bool {
	return !r.down.IsZero() && now.Sub(r.down) < settling
}

func (r *response) to(now time.Time, s sign) Verdict {
	switch {
	case s == overload, s == narrow && !r.lowest:
		return r.overloaded(now)
	case s == doubt, s == narrow:
		r.postpone(now)
		return Keep
	}
	if !r.up.IsZero() && now.Sub(r.up) >= stable {
		r.hold = r.config.HoldOff
	}
	if r.downs == 0 || now.Before(r.retry) {
		return Keep
	}
	r.downs--
	r.up = now
	r.retry = now.Add(r.hold)
	return Up
}

// postpone puts off Up while the path does not look good, and restarts the time for which
// it does.
func (r *response) postpone(now time.Time) {
	if at := now.Add(r.config.HoldOff); r.retry.Before(at) {
		r.retry = at
	}
	if !r.up.IsZero() {
		r.up = now
	}
}

func (r *response) overloaded(now time.Time) Verdict {
	r.downs = min(r.downs+1, maxDowns)
	r.down, r.up = now, time.Time{}
	r.retry = now.Add(r.hold)
	r.hold = min(2*r.hold, r.config.MaxHoldOff)
	return Down
}

// maxDowns bounds how many Ups follow: no track has more layers.
const maxDowns = 3
