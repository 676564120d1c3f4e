package nack

import "time"

const (
	assumedRTT  = 80 * time.Millisecond // before the first sample
	minVariance = 10 * time.Millisecond // least added to the round trip before asking again
	maxInterval = time.Second           // between two requests for one packet
	maxGrowth   = 2                     // that the interval grows by at most
	flatTries   = 3                     // requests before the interval grows
	earlyRun    = 4                     // early arrivals in a row that say that the path has become shorter
)

// A roundTrip is the smoothed time from a request to its repair, with the
// estimator of RFC 6298 section 2.
type roundTrip struct {
	srtt, rttvar time.Duration // zero: no sample yet
	early        int
}

// sample takes the time from a request to its answer. What came in less than
// half a round trip was on its way, or came late to the sender, and is no
// answer; only if nothing else comes for a while has the path become shorter.
func (r *roundTrip) sample(d time.Duration) {
	if d >= r.smoothed()/2 {
		r.early = 0
	} else if r.early++; r.early < earlyRun {
		return
	}
	if r.srtt == 0 {
		r.srtt, r.rttvar = max(d, 1), d/2
		return
	}
	r.rttvar += ((r.srtt - d).Abs() - r.rttvar) / 4
	r.srtt = max(r.srtt+(d-r.srtt)/8, 1)
}

func (r *roundTrip) smoothed() time.Duration {
	if r.srtt == 0 {
		return assumedRTT
	}
	return r.srtt
}

// interval is how long to wait for the answer to the tries-th request. The
// first few are evenly spaced, since under random loss the next one is as good
// as the last; then they spread, for a sender that has nothing to answer with.
func (r *roundTrip) interval(tries int) time.Duration {
	d := r.smoothed() + max(minVariance, 2*r.rttvar)
	most := min(maxGrowth*d, max(d, maxInterval))
	for ; tries > flatTries && d < most; tries-- {
		d += d / 2
	}
	return min(d, most)
}
