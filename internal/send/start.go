package send

import (
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/munge"
)

// Start says with what a receiver begins.
type Start struct {
	// Mode is the way to begin.
	Mode StartMode
	// Age is how far the newest keyframe may be behind what is live; an older
	// one is not shown. If zero, 12 s, which is what a node keeps; a keyframe
	// with StartAsk may never be older than 500 ms.
	Age time.Duration
	// Bytes is how much may be sent to catch up. If zero, 8 MiB, which is what a
	// node keeps.
	Bytes int
}

// A StartMode is a way to begin.
type StartMode int

// The ways to begin.
const (
	StartDefault StartMode = iota // StartCatchUp
	StartAsk                      // with the next keyframe, which is asked for
	StartStill                    // with the newest keyframe, and then as StartAsk
	StartCatchUp                  // with the newest keyframe and what followed, faster than it came
)

func (c Start) withDefaults() Start {
	if c.Mode == StartDefault {
		c.Mode = StartCatchUp
	}
	if c.Age <= 0 {
		c.Age = 12 * time.Second
	}
	if c.Bytes <= 0 {
		c.Bytes = 8 << 20
	}
	return c
}

const (
	// A keyframe this fresh is begun with in every mode: it may be the one that
	// was asked for while the receiver connected.
	fresh = 500 * time.Millisecond
	// From a keyframe this old on, catching up takes so long that a new one is
	// asked for meanwhile.
	worthAsking = 2 * time.Second
	// A node has the bandwidth, and those behind it want to catch up, too: they
	// may not overtake it.
	nodeSpeed = 2 * munge.Speed
	// What comes this far ahead of its time is a burst of one that catches up
	// itself, if it comes within a second of the beginning.
	ahead    = 100 * time.Millisecond
	aheadFor = time.Second
	// A publisher that was silent for longer than that has paused: there is
	// nothing to catch up with in between.
	gap = 5 * time.Second
	// Between two packets that far apart a publisher has paused, too, if the second
	// comes ahead of its time: who joined meanwhile was shown the first as if it had
	// been live.
	hole = 250 * time.Millisecond
	// showAgain is when a still picture goes out again, and a quarter of when
	// it does for the last time.
	showAgain = 250 * time.Millisecond
)

// choose returns what there is to begin with, and how: which is StartAsk where
// nothing of it may be used. It asks for a keyframe where one is wanted.
func (s *Sender) choose(now time.Time) (cdn.Opening, StartMode) {
	o := s.layer.Opening(now)
	if !s.set.config.Resumes { // what it has already is not sent again because nothing came since
		o.Age = max(o.Age-o.Silence, 0)
	}
	how := s.set.config.Start.with(o)
	if !comes(now, s.layer) && s.layer.Dormant() > 0 {
		how = StartAsk // what there is was left out of since
	}
	if how != StartCatchUp || o.Age > worthAsking {
		s.layer.RequestKeyframe()
	}
	return o, how
}

func (c Start) with(o cdn.Opening) StartMode {
	switch {
	case o.Whole && o.Age <= fresh:
		return StartCatchUp
	case c.Mode == StartAsk || o.Age > c.Age:
		return StartAsk
	case c.Mode == StartCatchUp && o.Whole && o.Bytes <= c.Bytes:
		return StartCatchUp
	case len(o.Picture) > 0:
		return StartStill
	}
	return StartAsk
}

// start puts the cursor where the receiver begins.
func (s *Sender) start(now time.Time) {
	s.shedding.began, s.asked = now, true
	s.cursor = s.layer.Live()
	if !s.video {
		return
	}
	o, how := s.choose(now)
	if len(o.Picture) > 0 && how != StartAsk {
		s.opening = append(o.Parameters[:len(o.Parameters):len(o.Parameters)], o.Picture...)
	}
	if how == StartCatchUp {
		s.cursor = o.Since
		s.waiting = s.opening == nil // the picture is coming just now
	}
}

// open sends the picture that the receiver begins with. A still picture goes out
// three times: Chromium, while it is busy, decodes what comes before there is
// anything to show it, and that is lost.
func (s *Sender) open(now time.Time) {
	h, all := s.haste, s.opening
	switch {
	case all == nil:
	case h == nil: // the first time
		s.haste = &haste{}
		s.show(now, all[len(all)-1].Timestamp)
		s.hurry(now, all[len(all)-1].Seq, all[len(all)-1].Timestamp)
		if !s.waiting || s.set.config.Node {
			s.opening = nil
		}
	case !s.waiting: // there is something newer
		s.opening = nil
	case now.Sub(h.at) >= showAgain<<(2*h.again):
		_, last := s.munger.Last()
		s.show(now, max(s.live(now), last+1))
		if h.again++; h.again == 2 {
			s.opening = nil
		}
	}
}

// show sends the picture in runs of its own, as timestamp as.
func (s *Sender) show(now time.Time, as uint64) {
	s.run = &run{layer: s.layer}
	for i, p := range s.opening {
		if i == 0 || p.Seq != s.opening[i-1].Seq+1 {
			s.munger.Start(s.run, p.Seq, p.Timestamp, as)
			s.haste.first = p.Seq
		}
		s.send(now, p)
		s.haste.last = p.Seq
	}
	s.reported.stale = true
}

// startState is a receiver's beginning.
type startState struct {
	opening []*cdn.Packet // a picture to begin with; nil: none, or it is sent
	haste   *haste        // nil once the receiver has what is live
}

// A haste is a receiver's beginning, until it has what is live. To the receiver
// it looks as if the picture had been live when it came, and all that follows
// when that comes: so nothing of what it caught up with stays as a delay.
type haste struct {
	at     time.Time // when it began
	from   uint64    // with which timestamp of the layer
	as     uint64    // and what that was sent as
	newest uint64    // timestamp of the layer that was sent
	// catching: what is sent is not live, and is sent faster than it came.
	catching bool
	// settles: it is known that the receiver has what is live with the layer's
	// timestamp steady.
	settles     bool
	steady      uint64
	first, last uint64 // numbers of the picture that the receiver began with
	again       int    // how often that was sent again
	// early is how far ahead of their time the last packets of what it caught up
	// with were sent.
	early time.Duration
}

// hurry begins to catch up from a timestamp of the layer on, with packet seq. A
// node is told no other timestamps than there are: it has to know how old they
// are.
func (s *Sender) hurry(now time.Time, seq, from uint64) {
	if !s.set.config.Node {
		s.munger.Hurry(seq, from)
	}
	h := s.haste
	h.at, h.from, h.newest, h.as, h.catching = now, from, from, s.munger.Present(from), true
}

// afterHole goes on at packet p as if it were live.
func (s *Sender) afterHole(now time.Time, p *cdn.Packet) {
	h := s.haste
	_, last := s.munger.Last()
	as := max(s.live(now)-s.ticks(h.early), last+1)
	s.munger.Leap(p.Seq, p.Timestamp, as)
	s.reported.stale = true
	h.at, h.from, h.newest, h.as, h.catching, h.settles, h.early = now, p.Timestamp, p.Timestamp, as, false, false, 0
}

// due is when a packet that waits for the receiver should be sent.
func (s *Sender) due(p *cdn.Packet) time.Time {
	h := s.haste
	if h == nil || !h.catching || h.settles && int64(p.Timestamp-h.steady) > 0 {
		return p.Arrival
	}
	speed := time.Duration(munge.Speed)
	if s.set.config.Node {
		speed = nodeSpeed
	}
	return h.at.Add(s.media(p.Timestamp) / speed)
}

// media is how far ts is after the haste's beginning.
func (s *Sender) media(ts uint64) time.Duration { return s.duration(int64(ts - s.haste.from)) }

// duration is how long the track's clock takes for so many ticks.
func (s *Sender) duration(ticks int64) time.Duration {
	return time.Duration(float64(ticks) / float64(s.line.Track.Info().Codec.ClockRate) * float64(time.Second))
}

// ticks is how many the track's clock makes in a time.
func (s *Sender) ticks(d time.Duration) uint64 {
	return uint64(d.Seconds() * float64(s.line.Track.Info().Codec.ClockRate))
}

// adrift reports whether it has yet to be seen how the receiver's timestamps go
// with the publisher's clock.
func (s *Sender) adrift() bool {
	return s.haste != nil && s.haste.catching && !s.haste.settles && !s.set.config.Node
}

// live returns as what the present is sent, or would be if the receiver had it
// already.
func (s *Sender) live(now time.Time) uint64 {
	if h := s.haste; h != nil && h.catching && !s.set.config.Node {
		return h.as + s.ticks(now.Sub(h.at))
	}
	_, last := s.munger.Last()
	return last + s.ticks(now.Sub(s.newestAt))
}

// upcoming returns the next packet that is due.
func (s *Sender) upcoming(now time.Time) *cdn.Packet {
	for s.haste != nil && !s.waiting {
		h, before := s.haste, s.cursor
		p := s.cursor.Next()
		if p == nil {
			s.caughtUp(now)
			return nil
		}
		if p.Seq >= h.first && p.Seq <= h.last {
			continue // sent ahead
		}
		apart := s.media(p.Timestamp) - s.media(h.newest)
		jump := apart > gap
		early := !h.catching && s.media(p.Timestamp) > now.Sub(h.at)+ahead
		switch live := h.catching && now.Sub(p.Arrival) < ahead; {
		case apart > hole && (early || live) && !s.set.config.Node:
			s.afterHole(now, p)
			jump = false
		case early && (!jump || p.Keyframe):
			s.hurry(now, p.Seq, h.newest)
		}
		switch {
		case h.catching && p.Keyframe && s.worthLeaping(p):
			s.await()
		case jump && h.settles:
			s.haste = nil
		case jump:
			s.caughtUp(now)
			h.at, h.from, h.newest = now, p.Timestamp, p.Timestamp
		case h.catching && s.due(p).After(now) && comes(now, s.layer):
			s.cursor = before
			return nil
		case int64(p.Timestamp-h.newest) > 0:
			h.newest = p.Timestamp
		}
		return p
	}
	return s.cursor.Next()
}

// caughtUp goes on at the layer's own pace, when nothing is left to be sent. If
// then too much comes at once, whoever sends it catches up itself.
func (s *Sender) caughtUp(now time.Time) {
	h := s.haste
	switch {
	case s.set.config.Node:
		s.haste = nil
	case h.settles:
		if s.media(h.steady)/munge.Speed <= now.Sub(h.at) {
			s.haste = nil
		}
	case h.catching:
		h.early = max(0, s.media(h.newest)/munge.Speed-now.Sub(h.at))
		s.munger.Steady(h.newest)
		h.at, h.from, h.catching = now, h.newest, false
		s.reported.stale = true
	case now.Sub(h.at) > aheadFor:
		s.haste = nil
	}
}

// leap gives up what is left to catch up with for a newer keyframe.
func (s *Sender) leap() {
	if s.haste == nil || !s.haste.catching || s.waiting {
		return
	}
	c := s.layer.Newer(s.cursor)
	ahead := c
	if p := ahead.Next(); c != s.cursor && p != nil && s.worthLeaping(p) {
		s.cursor, s.lost = c, c.Lost()
		s.await()
	}
}

// worthLeaping reports whether a keyframe is so far ahead that what lies before
// it is given up.
func (s *Sender) worthLeaping(p *cdn.Packet) bool {
	return s.media(p.Timestamp)-s.media(s.haste.newest) > fresh
}

// arrive begins a run at packet p of a layer. Where its place is ahead of the
// publisher's clock, what follows is sent faster than it came until that is
// settled. If nobody knows whether it is, that shows when something comes ahead
// of its time.
func (s *Sender) arrive(now time.Time, r *run, p *cdn.Packet, at place) {
	s.munger.Start(r, p.Seq, p.Timestamp, at.as)
	s.reported.stale = true
	s.haste = nil
	if s.set.config.Node {
		return
	}
	h := &haste{at: now, from: p.Timestamp, newest: p.Timestamp, as: at.as, first: 1}
	if at.settles {
		h.catching, h.settles, h.steady = true, true, s.munger.Settle(p.Timestamp, at.shift)
		if s.duration(int64(h.steady-h.from)) <= ahead {
			return // it is live
		}
	}
	s.haste = h
}
