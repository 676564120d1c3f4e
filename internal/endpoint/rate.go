package endpoint

import "time"

// A rate bounds how often something happens: as often as a bucket of burst tokens
// allows, into which one falls every so long. It is full at first.
type rate struct {
	every time.Duration
	burst int
	full  time.Time // when the bucket is again
}

// wait returns how long it takes until there is a token, 0: there is one.
func (r *rate) wait(now time.Time) time.Duration {
	return max(0, r.full.Add(-time.Duration(r.burst-1)*r.every).Sub(now))
}

// take takes a token.
func (r *rate) take(now time.Time) {
	if now.After(r.full) {
		r.full = now
	}
	r.full = r.full.Add(r.every)
}
