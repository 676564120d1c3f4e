package cdn

import "time"

// A pace says when a lease is to be renewed. After a success that is after a third of
// the lease, give or take a tenth of that third, so that two renewals may fail and the
// nodes of a network do not fall into step. After a failure it is sooner, with delays
// that double up to a third of the lease. It is not safe for concurrent use.
type pace struct {
	every  time.Duration
	random func() float64
	delay  time.Duration // until the next attempt after a failure; 0: the last attempt succeeded
}

func newPace(ttl time.Duration, random func() float64) *pace {
	return &pace{every: ttl / 3, random: random}
}

// failing reports whether the last attempt failed.
func (p *pace) failing() bool { return p.delay > 0 }

// next returns when the next attempt is due after one that began and ended at these times.
func (p *pace) next(began, ended time.Time, ok bool) time.Time {
	if ok {
		p.delay = 0
		return began.Add(p.scale(p.every, 0.9, 1.1))
	}
	if p.delay == 0 {
		p.delay = max(p.every/16, 1)
	}
	due := ended.Add(p.scale(p.delay, 0.5, 1))
	p.delay = min(2*p.delay, p.every)
	return due
}

// scale returns d times a random factor from low to high.
func (p *pace) scale(d time.Duration, low, high float64) time.Duration {
	return time.Duration(float64(d) * (low + (high-low)*p.random()))
}
