package control

import "time"

// rtt is the round trip, smoothed (RFC 6298 section 2).
type rtt struct {
	smooth time.Duration
	known  bool // otherwise smooth is a guess
}

func (r *rtt) add(sample time.Duration) {
	switch {
	case sample < 0:
	case !r.known:
		r.smooth, r.known = sample, true
	default:
		r.smooth += (sample - r.smooth) / 8
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// earlier returns the earlier of two deadlines, of which zero is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
