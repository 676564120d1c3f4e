package receive

import (
	"time"

	"github.com/pion/rtp"

	"github.com/deltacdn/delta/cdn"
)

// A contest is a second source of a layer, of which it is not known yet whether it
// takes the place of the first (an encoder began anew, or chose another SSRC) or
// sends beside it (a layer that nobody named). What it sends is kept meanwhile, for
// as long as a frame lasts.
type contest struct {
	by     *source
	begun  time.Time
	frame  uint32 // its newest timestamp
	quiet  bool   // nothing new has come of the first source since that frame began
	ours   uint32 // the first source's newest timestamp since the contest began
	frames int    // how many there were
}

const (
	// twoFrames of the first source show that it goes on; one may have been on its way.
	twoFrames = 2
	// quietFor is how long a contest may last while the first source is quiet.
	quietFor = 250 * time.Millisecond
	// A layer may go from one source to another so many times at once, and then once
	// in so long: each time costs a splice.
	maxChanges  = 10
	changeEvery = 50 * time.Millisecond
)

// compete takes a packet of a source whose layer another feeds. It reports whether
// the source feeds the layer now.
func (r *receiver) compete(now time.Time, s *source, p *rtp.Packet, out *cdn.Arrivals) bool {
	l := s.layer
	c := l.contest
	switch {
	case !l.mayChange(now):
		r.drop(SecondSource, s.ssrc, p.PayloadType)
		return false
	case l.source.silent(now):
		return r.give(s, l, out)
	case c != nil && c.by != s, now.Before(s.refused):
		r.drop(SecondSource, s.ssrc, p.PayloadType)
		return false
	case c == nil:
		l.contest = &contest{by: s, begun: now, frame: p.Timestamp, quiet: true}
	case p.Timestamp == c.frame:
	case c.quiet:
		return r.give(s, l, out)
	default:
		c.frame, c.quiet = p.Timestamp, true
	}
	if len(s.waiting) >= maxWaiting {
		r.refuse(now, l)
		return false
	}
	s.waiting = append(s.waiting, hold(now, p))
	return false
}

// contested takes note of a packet of the source that feeds a layer, while there is
// another.
func (r *receiver) contested(l *layer, p *rtp.Packet) {
	c := l.contest
	if !l.source.stats.IsNewest(p.SequenceNumber) {
		return // it was on its way
	}
	c.quiet = false
	if c.frames == 0 || p.Timestamp != c.ours {
		c.frames++
		c.ours = p.Timestamp
	}
	if c.frames >= twoFrames {
		r.refuse(l.source.last, l)
	}
}

// refuse has the second source of a layer not feed it: the first goes on.
func (r *receiver) refuse(now time.Time, l *layer) {
	s := l.contest.by
	l.contest = nil
	for range s.waiting {
		r.drop(SecondSource, s.ssrc, l.section.pt)
	}
	s.waiting, s.refused = nil, now.Add(refusedFor)
}

// endContests ends the contests that no packet ends, and those strays that nothing
// explains.
func (r *receiver) endContests(now time.Time, out *cdn.Arrivals) {
	for _, in := range r.sections {
		for _, l := range in.layers {
			if c := l.contest; c != nil && c.quiet && now.Sub(c.begun) >= quietFor && l.source.silentFor(now, quietFor) {
				r.give(c.by, l, out)
			}
		}
	}
	for _, s := range r.sources {
		r.decideWaiting(now, s, out)
	}
	for len(r.strays) > 0 && now.Sub(r.strays[0].at) > maxHeldFor {
		old := &r.strays[0].packet
		r.drop(Unmatched, old.SSRC, old.PayloadType)
		r.strays = append(r.strays[:0], r.strays[1:]...)
	}
}

// decideWaiting decides about packets of a source that wait, where no packet does.
func (r *receiver) decideWaiting(now time.Time, s *source, out *cdn.Arrivals) {
	if len(s.waiting) == 0 {
		return
	}
	l, age := s.layer, now.Sub(s.waiting[0].at)
	switch {
	case l == nil && age >= layerWait:
		if free := s.section.freeLayer(now); free != nil && r.give(s, free, out) {
			return
		}
	case age <= maxHeldFor:
		return
	case l != nil && l.contest != nil && l.contest.by == s:
		l.contest = nil
	}
	for range s.waiting {
		r.drop(SecondSource, s.ssrc, s.section.pt)
	}
	s.waiting = nil
}

func (s *source) silentFor(now time.Time, d time.Duration) bool {
	return s.ended || now.Sub(s.last) >= d
}

// mayChange reports whether another source may take the layer.
func (l *layer) mayChange(now time.Time) bool { return !l.changes.After(now.Add(-changeEvery)) }

// countChange notes that another source has taken the layer.
func (l *layer) countChange(now time.Time) {
	if full := now.Add(-maxChanges * changeEvery); l.changes.Before(full) {
		l.changes = full
	}
	l.changes = l.changes.Add(changeEvery)
}
