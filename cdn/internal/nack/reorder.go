package nack

import "time"

const (
	maxReorder   = 50 * time.Millisecond
	reorderDecay = 4 * time.Second // in which most of what was added to the wait is gone
	// reorderShare is how many waits a round trip holds at least. On three hops
	// of 5 % loss and 30 ms of jitter, 2 saves a third of the duplicates of 3
	// and costs 20 ms at the 99th percentile; 4 costs half as many again.
	reorderShare = 3
	cheapReorder = 15 * time.Millisecond // a wait that is not worth a duplicate on any path
)

// A reordering is how late packets come after those that overtook them: a
// maximum that decays toward the configured wait.
type reordering struct {
	floor  time.Duration
	depth  time.Duration // at the time of the newest late packet
	latest time.Time     // when that was
}

// late notes a packet that came depth after it was found missing.
func (r *reordering) late(now time.Time, depth time.Duration) {
	if depth = min(depth, maxReorder); depth >= r.current(now) {
		r.depth, r.latest = depth, now
	}
}

// current is the decayed depth, never below the floor.
func (r *reordering) current(now time.Time) time.Duration {
	left := reorderDecay - now.Sub(r.latest)
	if r.depth <= r.floor || left <= 0 {
		return r.floor
	}
	return r.floor + time.Duration(float64(r.depth-r.floor)*float64(left)/float64(reorderDecay))
}

// wait is how long to give a missing packet before it is asked for: never more
// than a third of the round trip, since on a short path a request that was not
// needed costs less than waiting.
func (r *reordering) wait(now time.Time, rtt time.Duration) time.Duration {
	return max(r.floor, min(r.current(now), max(rtt/reorderShare, cheapReorder)))
}
