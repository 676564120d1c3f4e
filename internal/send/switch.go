package send

import (
	"math"
	"slices"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/send/allot"
	"github.com/deltacdn/delta/internal/send/thin"
)

// This is where it is decided which layer a viewer gets: chooseLayer as bitrates and
// limits change, and obey as its path does (see adaptation).

const (
	// chooseEvery is how often the choice is made anew.
	chooseEvery = 250 * time.Millisecond
	// clearlyBetter is how much higher a layer's bitrate is for which the present one
	// is left.
	clearlyBetter = 1.3
	// mostBehind is how far behind what was sent last a keyframe can be: more than a node
	// keeps.
	mostBehind = 15 * time.Second
)

// nextLayer is the layer that a sender switches to.
type nextLayer struct {
	layer   *cdn.Layer    // at its next keyframe; nil: none
	cursor  cdn.Cursor    // of layer
	release func()        // gives up the claim on layer
	check   time.Time     // when the choice is made anew
	most    time.Duration // by which its keyframe may be older than what was sent last
}

// target returns the layer that is sent, or is about to be.
func (s *Sender) target() *cdn.Layer {
	if s.next.layer != nil {
		return s.next.layer
	}
	return s.feed.layer
}

// A halt is what is not sent, since the viewer's path does not carry it.
type halt uint8

const (
	nothing halt = iota // all is sent
	noLayer             // the present layer, of the next one's keyframe is awaited
	noVideo             // any video, until the policy has it sent again
)

// stopped is what is not sent, though it comes.
type stopped struct {
	halted halt // since a viewer's path does not carry it
	held   bool // since the path to a node does not: see Set.Bound
	missed bool // and the node has wanted it meanwhile
	asked  bool // a node asked for a keyframe of what it did not want
	// bridges: of the present layer only the base layer is sent, until a lower layer begins.
	bridges bool
}

// hasChoice reports whether the track has several layers, of which one is chosen.
func (s *Sender) hasChoice() bool { return s.adapts() && len(s.line.Track.Layers()) > 1 }

// chooseLayer goes over to the layer that the viewer is to have now. Publishers begin
// with the low ones, and drop the high ones when they have not the bandwidth.
func (s *Sender) chooseLayer(now time.Time) {
	if !s.hasChoice() || s.stopped.halted == noVideo || now.Before(s.next.check) {
		return
	}
	s.goOver(now, s.choice(now))
}

// choice returns the layer that the viewer is to have now.
func (s *Sender) choice(now time.Time) *cdn.Layer {
	s.next.check = now.Add(chooseEvery)
	if named := s.line.Track.Layer(s.set.config.Layer); named != nil {
		return nearest(now, s.line.Track, named, s.within(now))
	}
	return s.best(now)
}

// goOver goes over to a layer.
func (s *Sender) goOver(now time.Time, to *cdn.Layer) {
	switch {
	case s.feed.source != nil:
		s.switchTo(to)
		if s.next.layer == nil {
			s.endBridge()
		}
		if s.next.layer == nil && s.stopped.halted == noLayer { // it stays
			s.resume(now)
		}
	case to != s.feed.layer:
		s.startWith(now, to)
	}
}

// obey has the video sent as a rung says. If that is less than before, what was sent is
// not repaired any more: repairs of what was too much would be too much. But what fewer
// temporal layers go on with is. A lower layer may begin with a keyframe that is behind what
// was sent last by most.
func (s *Sender) obey(now time.Time, r allot.Rung, how turn, most time.Duration) {
	if how == downward {
		s.keepRepeat()
		s.numbers.Forget()
	}
	if r.Mode == allot.Paused {
		s.aim(nil)
		s.halt(noVideo)
		return
	}
	bridges := s.stopped.bridges && how == upward
	s.thin(levelOf(r))
	paused := s.stopped.halted == noVideo
	if s.hasChoice() {
		s.goOver(now, s.choice(now))
	}
	s.stopped.bridges = false
	switch {
	case bridges && s.descends(), s.next.layer != nil && how == bridged && s.stopped.halted == nothing && !s.mode.awaitsKeyframe():
		s.bridge()
	case s.next.layer != nil && (how != upward || paused):
		s.halt(noLayer) // down, the path has no room for both
		if how != upward {
			s.rewind(now, most)
		}
	case paused, how == downward && r.Mode == allot.Partial && s.next.layer == nil && s.feed.source != nil:
		s.resume(now)
	case s.rises() && s.filter.Reached() == thin.Keyframes:
		s.feed.layer.RequestKeyframe()
	}
}

// halt stops the video that is sent.
func (s *Sender) halt(what halt) {
	s.snapshot.packets, s.snapshot.next = nil, 0
	if s.mode != opening { // which shows nothing any more
		s.enter(waiting, onPause)
	}
	s.stopped.halted = what
	s.wait = wait{asked: true}
}

// resume goes on with the present layer at its next keyframe, which is asked for.
func (s *Sender) resume(now time.Time) {
	s.stopped.halted = nothing
	s.pause(now, now, now)
}

// best returns the best layer that has media, or the present target if that is as good.
func (s *Sender) best(now time.Time) *cdn.Layer {
	target := s.target()
	starved := !hasMedia(now, s.feed.layer)
	if starved && s.next.layer != nil && hasMedia(now, s.next.layer) {
		return target // its keyframe is on the way
	}
	allowed := s.within(now)
	if s.stopped.bridges && !starved && slices.Contains(allowed, s.feed.layer) {
		return s.feed.layer // the step down was taken back
	}
	top := best(now, allowed, nil)
	if !slices.Contains(allowed, target) {
		return top
	}
	if hasMedia(now, top) && (starved || top.Bitrate() > clearlyBetter*s.feed.layer.Bitrate()) {
		return top
	}
	return target
}

// startWith has a receiver that was sent nothing yet start with another layer.
func (s *Sender) startWith(now time.Time, l *cdn.Layer) {
	s.aim(nil)
	s.feed.release()
	s.feed.layer, s.feed.release = l, s.set.claim(l)
	if s.set.started {
		s.start(now)
		s.feed.lost = s.feed.cursor.Lost()
		s.showSnapshot(now) // ahead of what followed it
	}
}

// switchTo has the sender go over to a layer at its next keyframe.
func (s *Sender) switchTo(l *cdn.Layer) {
	switch l {
	case nil, s.next.layer:
		return
	case s.feed.layer:
		s.aim(nil)
		return
	}
	s.aim(l)
	s.next.cursor, s.next.most = l.Live(), fresh
	l.RequestKeyframe()
}

// aim claims the layer that the sender switches to, nil: none.
func (s *Sender) aim(l *cdn.Layer) {
	n := &s.next
	if n.layer == l {
		return
	}
	if n.layer != nil {
		n.release()
	}
	if n.layer = l; l != nil {
		n.release = s.set.claim(l)
	}
}

// switched notes that the sender has gone over.
func (s *Sender) switched() {
	s.feed.release()
	s.feed.release, s.next.layer = s.next.release, nil
}

// trySwitch goes over to the next layer if its keyframe is there.
func (s *Sender) trySwitch(now time.Time) {
	n := &s.next
	if n.layer == nil || s.stopped.halted == noVideo {
		return
	}
	for before := n.cursor; ; before = n.cursor {
		p := n.cursor.Next()
		switch {
		case p == nil:
			return
		case !p.Keyframe:
			continue
		case s.stopped.halted == noLayer && !s.mayLeave(now): // the queue drains first
			n.cursor, s.shedding.paced = before, true
			return
		}
		if at := s.place(now, n.layer, p.Timestamp); at.behind > n.most {
			n.layer.RequestKeyframe() // the layer catches up; the viewer must not see that again
			continue
		}
		s.feed.cursor, s.feed.lost = n.cursor, n.cursor.Lost()
		s.begin(now, n.layer, p)
		s.send(now, p)
		return
	}
}

// A place is where a source begins in what the receiver is sent.
type place struct {
	as uint64 // timestamp
	// known: it is known which offset, added to the source's timestamps, makes them go
	// with the publisher's clock as the receiver's do.
	known  bool
	offset uint64
	behind time.Duration // behind what was sent last
}

// place finds the place of layer l where its timestamp is ts: at the same instant of the
// publisher's clock, or, if that was sent already or is long ago, as if it were live.
func (s *Sender) place(now time.Time, l *cdn.Layer, ts uint64) place {
	last := s.feed.newestTS
	next := last + s.ticks(time.Millisecond)
	present := s.liveTimestamp(now)
	offset, ok := s.offset(now, l, ts)
	as := ts + offset
	behind := s.duration(last - as)
	if !ok || behind >= mostBehind {
		return place{as: max(next, present)}
	}
	if s.duration(present-as) > ahead {
		next = max(next, present)
	}
	return place{as: max(as, next), known: true, offset: offset, behind: behind}
}

// offset returns what is added to timestamp ts of layer l, and to all after it, to go
// with the publisher's clock as the present layer does. It returns false if that is not
// known: while the receiver's own offset is not, and for layers of different clocks, by
// which ts would not have come yet.
func (s *Sender) offset(now time.Time, l *cdn.Layer, ts uint64) (offset uint64, ok bool) {
	if s.clock.isGuess {
		return 0, false
	}
	offset = s.timeline.Offset()
	if l == s.feed.layer {
		return offset, true
	}
	from, ok := s.feed.layer.Clock()
	to, ok2 := l.Clock()
	if !ok || !ok2 || from.Estimated != to.Estimated {
		return 0, false
	}
	_, present := from.At(now)
	present += offset
	apart := math.Round(to.NTP.Sub(from.NTP).Seconds() * float64(from.Rate))
	offset += from.RTP + uint64(int64(apart)) - to.RTP
	return offset, s.duration(ts+offset-max(s.feed.newestTS, present)) <= time.Second
}
