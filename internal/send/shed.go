package send

import (
	"time"

	"github.com/deltacdn/delta/cdn"
)

// A node with more viewers than its processor can serve falls behind, and what it sends
// gets older and older. So a viewer that was found late twice in a row goes without video
// until the next keyframe. That costs nothing, and as viewers are served in turn, no more
// of them than needed are late. If the lateness shrinks by a quarter from one turn to the
// next, the node is only making up for a stall. What is very late is of no use to
// anybody, but one stall is forgiven.
const (
	late     = 40 * time.Millisecond
	tooLate  = 80 * time.Millisecond
	veryLate = 160 * time.Millisecond
	// hopeless is the length from which no stall is forgiven: if all viewers were sent
	// what waits for them, that would take as many times longer as they are too many.
	hopeless = time.Second
	// A viewer that is shed again within soon is shed for shedFor at least, so that not
	// all come back with each keyframe.
	soon    = 5 * time.Second
	shedFor = time.Second
	// shedAsks is how long a viewer that was shed waits for the publisher's own
	// keyframes, and for those that others have asked for. Asking at once would burden
	// the publisher, and all its other viewers, with the overload of this node.
	shedAsks = 3 * time.Second
)

// shedding is how well the node keeps up with one sender.
type shedding struct {
	began  time.Time     // when the sender started, or went back in time: older packets are not late
	behind time.Duration // how late the receiver was served last
	last   time.Time     // when something was left out
	times  uint64        // how often that was, as the node was behind
	skips  uint64        // how often that was, as there was no room for too long
	held   bool          // there was no room for what comes next
	paced  bool          // the next packet waits for the pacer
	told   bool          // it was told that the receiver is shown nothing, as there was no room
	served cdn.Cursor    // where the layer ended when the receiver was served last, while starting
}

// overloaded reports whether the receiver is served later than a stall explains. before
// is how late it was served the last time; again is whether something was left out lately.
func (st *shedding) overloaded(before time.Duration, again bool) bool {
	lasting := before > late && st.behind > tooLate && st.behind > before/4*3
	return lasting || st.behind > veryLate && (again || before > late) || st.behind > hopeless
}

// dueSince returns since when a packet could have been sent that was due at at, while
// starting or not: that may have been before anything came and woke the sender.
func (st *shedding) dueSince(at time.Time, starting bool) time.Time {
	if st.began.After(at) {
		at = st.began
	}
	if starting {
		since := st.served
		if first := since.Next(); first != nil && first.Arrival.After(at) {
			at = first.Arrival
		}
	}
	return at
}

// shed skips what waits for the receiver if the node is too far behind. A node serves
// many, and sheds what it has to by itself.
func (s *Sender) shed(now time.Time, paced bool) {
	st := &s.shedding
	before := st.behind
	st.behind = 0
	oldest := now.Add(-veryLate)
	switch {
	case s.mode.awaitsKeyframe():
		waits := paced || st.paced // the keyframe is here, and gets older by the pacer
		if st.times+st.skips > 0 && !waits && s.wait.resume.Before(oldest) {
			s.wait.resume = oldest // it is not to begin with what is old already
		}
		return
	case s.set.config.Node:
		return
	}
	peek := s.feed.cursor
	p := peek.Next()
	if p == nil {
		return // nothing is late
	}
	st.behind = now.Sub(st.dueSince(s.due(p), s.mode.isStarting()))
	if paced || s.shedding.paced {
		st.behind = s.behindPacer(now, st.behind, before)
	}
	again, resume := now.Sub(st.last) < soon, oldest
	if again {
		resume = now.Add(shedFor)
	}
	if s.set.room != nil {
		s.skip(now, resume)
		return
	}
	if f := s.set.config.OnBehind.Late; f != nil && st.behind > late {
		f()
	}
	if st.overloaded(before, again) {
		st.times++
		s.leaveOut(now, resume)
		if f := s.set.config.OnBehind.Shed; f != nil {
			f()
		}
	}
}

// behindPacer returns how late the receiver is served if the next packet has waited for the
// pacer, which is not the node's fault. A burst that waits is one delay, however often the
// receiver is served meanwhile, so it stays at what it was before; what leaves late is made
// up for.
func (s *Sender) behindPacer(now time.Time, behind, before time.Duration) time.Duration {
	behind = min(behind, now.Sub(s.set.pace.dueAt()))
	if behind > hopeless {
		return behind
	}
	if f := s.set.config.OnBehind.Late; f != nil && behind > late {
		f()
	}
	return min(before, late)
}

// leaveOut gives up what waits for the receiver. Its video goes on with a keyframe that
// comes from resume on.
func (s *Sender) leaveOut(now, resume time.Time) {
	st := &s.shedding
	st.behind, st.last = 0, now
	if s.video {
		s.pause(now, resume, now.Add(shedAsks))
	} else {
		s.feed.cursor = s.feed.layer.Live() // a player conceals what is missing
		s.awaitKeyframe(onPause)            // in a new span, so that it does not ask for it
	}
}
