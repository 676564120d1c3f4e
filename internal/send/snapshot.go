package send

import (
	"time"

	"github.com/deltacdn/delta/cdn"
)

// snapshot is a keyframe that a receiver begins with.
type snapshot struct {
	packets     []*cdn.Packet // parameter sets and the keyframe; nil: none, or it was shown
	shown       int           // how often
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

// due reports whether the snapshot is to be shown again.
func (s *snapshot) due(now time.Time) bool { return now.Sub(s.at) >= showAgain<<(2*(s.shown-1)) }

// showSnapshot sends the snapshot if it is time.
func (s *Sender) showSnapshot(now time.Time) {
	snap := &s.snapshot
	switch {
	case snap.packets == nil:
	case snap.shown == 0:
		newest := snap.packets[len(snap.packets)-1]
		snap.at = now
		s.sendSnapshot(now, newest.Timestamp)
		s.accelerate(now, newest.Timestamp)
		if s.mode == catchingUp {
			snap.packets = nil
		} else if s.set.config.Node {
			s.enter(waiting, onShown)
		}
	case snap.due(now):
		s.sendSnapshot(now, max(s.liveTimestamp(now), s.feed.newestTS+1))
		if snap.shown == mostShown {
			s.enter(waiting, onShown)
		}
	}
}

// sendSnapshot sends the snapshot with timestamp as.
func (s *Sender) sendSnapshot(now time.Time, as uint64) {
	snap := &s.snapshot
	snap.shown++
	s.feed.source = &source{layer: s.feed.layer}
	for i, p := range snap.packets {
		if i == 0 || p.Seq != snap.packets[i-1].Seq+1 {
			s.startSpan(p, as)
			snap.first = p.Seq
		}
		s.send(now, p)
		snap.last = p.Seq
	}
}
