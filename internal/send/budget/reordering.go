package budget

import "time"

const (
	mostReordering = 50 * time.Millisecond
	reorderingStep = 10 * time.Millisecond
	// leastAsked is how many requests of the last reports tell something.
	leastAsked = 8
	// needlessPart of the repairs have to be needless for requests to wait: a packet that
	// was lost waits for a round trip more then.
	needlessPart = 0.75
	// keptPart is the part of a report's figures that counts at the next.
	keptPart = 0.75
	// shortWait costs little on any path.
	shortWait = 20 * time.Millisecond
)

// A Reordering measures how much too early a receiver asks for packets, because its path
// lets packets overtake one another. If more packets are repaired than its reports count
// as lost, the others came anyway. Then requests that come less than some time after a
// round trip are not answered: the receiver asks again for what it still misses. That time
// grows while most of the repairs are needless, and shrinks slowly.
//
// It is for receivers whose reports do not count repairs as received: those that have them
// by RTX (RFC 4588 section 4). The zero value is ready to use. It is not safe for
// concurrent use.
type Reordering struct {
	repaired, lost float64 // packets, of the last reports
	wait           time.Duration
}

// Repaired notes that a packet was repaired for the first time.
func (r *Reordering) Repaired() { r.repaired++ }

// reported notes that so many packets are lost according to a report, since the one before.
// It returns the part of the last repairs that were of lost packets: none if most were
// needless, since what is on its way when a report is made counts as lost, too.
func (r *Reordering) reported(lost float64) (needed float64) {
	needed = 1
	r.lost += lost
	switch {
	case r.repaired >= leastAsked && r.repaired*(1-needlessPart) > r.lost:
		r.wait = min(r.wait+reorderingStep, mostReordering)
		needed = 0
	case r.repaired >= leastAsked:
		needed = min(r.lost/r.repaired, 1)
		fallthrough
	default:
		r.wait -= r.wait / 16
	}
	r.repaired *= keptPart
	r.lost *= keptPart
	return needed
}

// Wait returns for how long after a round trip a packet is not repaired yet. It is a round
// trip at most: a receiver that asks each round trip has its second request answered.
func (r *Reordering) Wait(rtt time.Duration) time.Duration {
	return min(r.wait, max(rtt, shortWait))
}
