package send

import (
	"time"

	"github.com/pion/rtcp"

	"github.com/deltacdn/delta/internal/send/allot"
)

// A receiver by TCP is slow where its connection takes less than the stream has. Then its
// video waits in the ring, where it can be left out, and sound goes ahead of it. The
// connection slows down for moments, too, and for the largest frames always: nothing is
// left out for less than maxHeld.
const (
	// maxHeld is how late video may be because there is no room for it. Then it is left
	// out until the next keyframe.
	maxHeld = time.Second
	// roomTick is how often a sender looks again whether there is room.
	roomTick = 20 * time.Millisecond
)

// ConsumeWhile is [Set.Consume] for a receiver by TCP: it sends video only while room
// returns true, which it is asked ahead of each packet.
func (s *Set) ConsumeWhile(room func() bool, now time.Time, to RTPWriter) []rtcp.Packet {
	s.change()
	s.room = room
	s.mu.Unlock()
	reports := s.Consume(now, to)
	s.change()
	s.room = nil
	s.mu.Unlock()
	return reports
}

// hasRoom reports whether the next packet may be sent.
func (s *Sender) hasRoom() bool {
	s.shedding.held = s.video && s.set.room != nil && !s.set.room()
	return !s.shedding.held
}

// skip leaves out what has waited for room for too long.
func (s *Sender) skip(now, resume time.Time) {
	if s.shedding.behind <= maxHeld {
		return
	}
	s.shedding.skips++
	s.leaveOut(now, resume)
	if s.video {
		s.shedding.told = true
		s.set.note(Change{Layer: s.feed.layer.Name(), Mode: allot.Paused, Lower: true, Reason: allot.Backlog})
	}
}
