package send

import (
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/send/timeline"
)

// snapshot is a keyframe that a receiver begins with.
type snapshot struct {
	packets     []*cdn.Packet // parameter sets and the keyframe; nil: none, or it was shown
	shown, next int32         // how often it was shown; the packet that is shown next, 0: it is not being shown
	at          time.Time     // when it was shown first
	first, last uint64        // source numbers of what was shown in one piece
}

const (
	// showAgain is when a snapshot is shown for the second time, and a quarter of when
	// it is for the last time.
	showAgain = 250 * time.Millisecond
	// mostShown is how often a snapshot is shown. Chromium, while it is busy, decodes
	// what comes before there is anything to show it, and that is lost.
	mostShown = 3
)

// has reports whether p was shown.
func (s *snapshot) has(p *cdn.Packet) bool { return s.shown > 0 && p.Seq >= s.first && p.Seq <= s.last }

// isFirst reports whether a receiver has yet to be shown any of the snapshot.
func (s *snapshot) isFirst() bool { return s.packets != nil && s.shown == 0 }

// due reports whether the snapshot is to be shown again.
func (s *snapshot) due(now time.Time) bool { return now.Sub(s.at) >= showAgain<<(2*(s.shown-1)) }

// showSnapshot sends the snapshot if it is time.
func (s *Sender) showSnapshot(now time.Time) {
	snap := &s.snapshot
	switch {
	case snap.packets == nil:
	case snap.next > 0:
		s.sendSnapshot(now, s.feed.newestTS)
	case !s.mayLeave(now):
		s.shedding.paced = snap.shown == 0 || snap.due(now)
	case snap.shown == 0:
		newest := snap.packets[len(snap.packets)-1].Timestamp
		s.catchUp = catchUp{at: now, from: newest, newest: newest}
		s.catchUp.speed = timeline.Fastest // until it is known when it was shown
		s.beginSnapshot(now, newest)
	case snap.due(now):
		s.beginSnapshot(now, max(s.liveTimestamp(now), s.feed.newestTS+1))
	}
}

// beginSnapshot begins to send the snapshot with timestamp as.
func (s *Sender) beginSnapshot(now time.Time, as uint64) {
	snap := &s.snapshot
	if snap.shown == 0 {
		snap.at = now
	}
	if snap.shown == 0 && !s.set.config.Node {
		s.clock = liveClock{at: now, as: as, isGuess: true}
	}
	snap.shown++
	s.feed.source = &source{layer: s.feed.layer}
	s.sendSnapshot(now, as)
}

// sendSnapshot sends what the pacer lets pass of the snapshot, with timestamp as.
func (s *Sender) sendSnapshot(now time.Time, as uint64) {
	snap := &s.snapshot
	for ; int(snap.next) < len(snap.packets); snap.next++ {
		if s.shedding.paced = snap.next > 0 && !s.mayLeave(now); s.shedding.paced {
			return
		}
		p := snap.packets[snap.next]
		if snap.next == 0 || p.Seq != snap.packets[snap.next-1].Seq+1 {
			s.startSpan(p, as)
			snap.first = p.Seq
			s.restartFilter(p)
		}
		s.send(now, p)
		snap.last = p.Seq
	}
	snap.next = 0
	s.shown(now)
}

// shown goes on when the snapshot was sent to its end.
func (s *Sender) shown(now time.Time) {
	snap := &s.snapshot
	newest := snap.packets[len(snap.packets)-1].Timestamp
	if snap.shown == 1 {
		s.accelerate(now, newest)
	}
	switch {
	case snap.shown == 1 && s.mode == catchingUp:
		snap.packets = nil
	case snap.shown == 1 && s.set.config.Node, snap.shown == mostShown:
		s.enter(waiting, onShown)
	}
}
