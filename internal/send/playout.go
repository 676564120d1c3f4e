package send

import (
	"slices"
	"time"

	"github.com/deltacdn/delta/internal/send/playout"
)

// longestDelay is how long a player may hold pictures back that was not told otherwise. It is
// what libwebrtc takes by itself.
const longestDelay = 10 * time.Second

// longer is by how much, beside a quarter, the round trip exceeds its minimum where there is a
// queue.
const longer = 30 * time.Millisecond

// holdBack has the viewer's player hold pictures back for as long as repairs take, if the path
// loses packets of video. It is called when a report has come.
func (s *Sender) holdBack(now time.Time) {
	a := s.set.adaptation
	if a == nil || a.path.estimator == nil {
		return
	}
	v := playout.View{Trip: s.reports.minRTT, Queued: s.isQueued(now), Clean: a.clean && a.path.carries(now) > 0}
	told := false
	for _, snd := range s.set.senders {
		if snd.video {
			v.Packets += snd.reports.packets
			v.Repairs += snd.repaired()
			told = told || snd.tellsPlayout()
		}
	}
	if !told || a.playout == nil && v.Repairs == 0 {
		return
	}
	if a.playout == nil {
		a.playout = &playout.Delay{}
	}
	if a.playout.Look(now, v, s.set.config.Playout.Repairs) {
		for _, snd := range s.set.senders {
			snd.bindPlayout()
		}
	}
}

// repaired returns how many packets were sent again that the receiver's path has lost.
func (s *Sender) repaired() uint64 {
	if s.wire.out.RTX == 0 { // its reports count repairs as received
		return s.repairs.budget.Answered()
	}
	return s.repairs.budget.Needed()
}

// isQueued reports whether a queue stands on the receiver's path, by its last report and the
// estimate, if there is one.
func (s *Sender) isQueued(now time.Time) bool {
	r := &s.reports
	if r.rtt > r.minRTT+r.minRTT/4+longer {
		return true
	}
	a := s.set.adaptation
	if a == nil || a.path.estimator == nil {
		return false
	}
	state := a.path.estimator.State(now)
	return state.Full()
}

// tellsPlayout reports whether the player can be told another delay while media flow. Without RTX
// repairs have to be the same bytes as what was lost, header extensions included.
func (s *Sender) tellsPlayout() bool { return s.video && s.wire.out.delay != 0 && s.wire.out.RTX != 0 }

// bindPlayout decides which playout delay packets have: the publisher's, or ours in its place.
func (s *Sender) bindPlayout() {
	w := &s.wire
	extensions := s.line.Track.Info().Extensions
	d, ours := s.playoutDelay(slices.Contains(extensions, uriPlayoutDelay))
	id := w.out.delay
	if ours {
		id = 0
	}
	for i, uri := range extensions {
		if uri == uriPlayoutDelay {
			w.setID(i+1, id)
		}
	}
	w.delays, w.delay = ours && s.video && w.out.delay != 0, d.bytes()
}

// playoutDelay returns the delay that the player is told; false: none, or only the publisher's.
// Once one was told, it is told until the end: a player keeps to the last that it has heard.
func (s *Sender) playoutDelay(published bool) (d PlayoutDelay, ok bool) {
	if p := s.set.config.Playout.Delay; p != nil {
		d, ok = *p, true
	}
	a := s.set.adaptation
	if !s.tellsPlayout() || a == nil || a.playout == nil || !a.playout.Announced() {
		return d, ok
	}
	if !ok {
		d, ok = PlayoutDelay{Max: longestDelay}, a.playout.Min() > 0 || !published
	}
	d.Min = max(d.Min, s.set.repairDelay())
	return d, ok
}

// repairDelay returns how long the player is told to hold pictures back for repairs.
func (s *Set) repairDelay() time.Duration {
	a := s.adaptation
	if a == nil || a.playout == nil {
		return 0
	}
	least := a.playout.Min()
	if p := s.config.Playout.Delay; p != nil {
		return min(least, p.Max)
	}
	return least
}
