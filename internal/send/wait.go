package send

import "time"

// waitState is what a sender without video waits for.
type waitState struct {
	waiting bool      // for a keyframe
	resume  time.Time // not before this
	asked   bool      // for the keyframe
	askAt   time.Time // not before this
}

// pause holds the video back until the next keyframe that comes from resume on,
// and asks for one at askAt if none has until then.
func (s *Sender) pause(now, resume, askAt time.Time) {
	s.waiting, s.resume, s.asked, s.askAt = true, resume, false, askAt
	s.ask(now)
}

// ask requests the keyframe that is waited for, once it is time.
func (s *Sender) ask(now time.Time) {
	if s.waiting && !s.asked && !now.Before(s.askAt) {
		s.asked = true
		s.layer.RequestKeyframe()
	}
}

// missed notes that a keyframe came before its time, or was found too late. If it
// is the one that was asked for, another one has to be.
func (s *Sender) missed(now time.Time) {
	if s.asked {
		s.asked, s.askAt = false, now.Add(shedAsks)
	}
}

// await has the next keyframe begun with that is there.
func (s *Sender) await() { s.waiting, s.resume, s.asked = true, time.Time{}, true }
