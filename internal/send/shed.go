package send

import (
	"time"

	"github.com/deltacdn/delta/cdn"
)

// A node with more viewers than its processor can serve falls behind, and what
// it sends gets older and older. So a viewer that was found late twice in a row
// goes without video until the next keyframe. That costs nothing, and as viewers
// are served in turn, no more of them than needed are late. If what is behind
// shrinks by a quarter from one turn to the next, the node is only making up for
// a stall; but what is very late is of no use to anybody, though one stall be
// forgiven.
const (
	late     = 40 * time.Millisecond
	tooLate  = 80 * time.Millisecond
	veryLate = 160 * time.Millisecond
	// No stall is forgiven that is so long: if all viewers were sent what waits for
	// them, it would take as many times longer as they are too many.
	hopeless = time.Second
	// One that is shed again so soon is shed for a time at least, so that not all
	// come back with each keyframe.
	soon    = 5 * time.Second
	shedFor = time.Second
	// So long it waits for the publisher's own keyframes, and those that others
	// have asked for. Asking at once would burden the publisher, and all its other
	// viewers, with the overload of this node.
	shedAsks = 3 * time.Second
)

// shedState is how well the node keeps up with one sender.
type shedState struct {
	began  time.Time // when the cursor was put where it began: older packets are not late
	behind time.Duration
	last   time.Time // that something was left out
	times  uint64
	served cdn.Cursor // where the layer ended when the receiver was served last
}

// shed skips what waits for the receiver if the node is too far behind.
func (s *Sender) shed(now time.Time) {
	st, ahead := &s.shedding, s.cursor
	before := st.behind
	st.behind = 0
	if s.waiting || s.set.config.Node {
		if fresh := now.Add(-veryLate); s.waiting && st.times > 0 && s.resume.Before(fresh) {
			s.resume = fresh // it is not to begin with what is old already
		}
		return // a node serves many, and sheds what it must itself
	}
	p := ahead.Next()
	if p == nil {
		return // nothing is late
	}
	from := s.due(p)
	if st.began.After(from) {
		from = st.began
	}
	if s.haste != nil { // then what waits may have been due before anything came and woke us
		since := st.served
		if first := since.Next(); first != nil && first.Arrival.After(from) {
			from = first.Arrival
		}
	}
	st.behind = now.Sub(from)
	again := now.Sub(st.last) < soon
	if !st.overloaded(before, again) {
		return
	}
	resume := now.Add(-veryLate)
	if again {
		resume = now.Add(shedFor)
	}
	st.behind, st.last = 0, now
	st.times++
	if s.video {
		s.pause(now, resume, now.Add(shedAsks))
	} else {
		s.cursor = s.layer.Live() // a player conceals what is missing
		s.await()                 // in a new run: nobody is to ask for it again
	}
	if f := s.set.config.OnShed; f != nil {
		f()
	}
}

// overloaded reports whether more is behind than a stall explains; again is
// whether that was so lately.
func (st *shedState) overloaded(before time.Duration, again bool) bool {
	lasting := before > late && st.behind > tooLate && st.behind > before/4*3
	return lasting || st.behind > veryLate && (again || before > late) || st.behind > hopeless
}
