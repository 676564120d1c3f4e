package send

import "time"

// wait is what a sender waits for that awaits a keyframe.
type wait struct {
	resume time.Time // keyframes that came before that are passed over
	askAt  time.Time // if it was not asked for, when it will be
	asked  bool      // the keyframe was asked for
	// restart: an idle sender had nothing to go on from, and starts when it is wanted.
	restart bool
}

// pause holds the video back until the next keyframe that comes from resume on, and
// asks for one at askAt if none has come until then. Video that is halted stays so.
func (s *Sender) pause(now, resume, askAt time.Time) {
	if s.stopped.halted != nothing {
		return
	}
	if s.mode != opening { // which goes on
		s.enter(waiting, onPause)
	}
	s.wait = wait{resume: resume, askAt: askAt}
	s.ask(now)
}

// awaitKeyframe has the next keyframe begun with that is in the ring, or comes.
func (s *Sender) awaitKeyframe(on event) {
	s.enter(waiting, on)
	s.wait = wait{asked: true}
}

// ask requests the keyframe that is waited for, once it is time.
func (s *Sender) ask(now time.Time) {
	if s.mode.awaitsKeyframe() && !s.wait.asked && !now.Before(s.wait.askAt) {
		s.wait.asked = true
		s.feed.layer.RequestKeyframe()
	}
}

// missed notes that a keyframe came before its time, or was found too late. If it is
// the one that was asked for, another one is asked for later.
func (s *Sender) missed(now time.Time) {
	if s.wait.asked {
		s.wait.asked, s.wait.askAt = false, now.Add(shedAsks)
	}
}
