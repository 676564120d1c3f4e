package send

import "encoding/binary"

// A Step is how far a receiver's start is.
type Step int

// The steps. Each is told once.
const (
	StepAsked  Step = iota // a keyframe was asked for, to begin with
	StepPacket             // the first packet was sent
	StepFrame              // the first frame was sent, whole: of video if there is some, else of sound
	steps
)

// firstFrame is how far the first frame is.
type firstFrame struct {
	told      [steps]bool
	begun     bool   // of video
	timestamp uint32 // of that frame
}

// step tells of a step, unless it was told.
func (s *Set) step(what Step) {
	if f := s.config.OnStep; f != nil && !s.first.told[what] && !s.first.told[StepFrame] {
		s.first.told[what] = true
		f(what)
	}
}

// awaitsFrame reports whether the first frame has yet to be sent.
func (s *Set) awaitsFrame() bool { return s.config.OnStep != nil && !s.first.told[StepFrame] }

// noteFirst tells of packets and frames that were sent for the first time.
func (s *Set) noteFirst() {
	if !s.awaitsFrame() {
		return
	}
	video := false
	for _, snd := range s.senders {
		video = video || snd.video && snd.mode != idle
	}
	for _, snd := range s.senders {
		if snd.reports.packets == 0 {
			continue
		}
		s.step(StepPacket)
		if snd.video == video && (!video || s.first.isWhole(snd.wire.header)) {
			s.step(StepFrame)
			return
		}
	}
}

// isWhole reports whether the first frame of video has been sent to its last packet. The
// newest packet's header tells: it has the marker, or is of another frame.
func (f *firstFrame) isWhole(header []byte) bool {
	timestamp := binary.BigEndian.Uint32(header[4:])
	if !f.begun {
		f.begun, f.timestamp = true, timestamp
	}
	return header[1]&marker != 0 || timestamp != f.timestamp
}
