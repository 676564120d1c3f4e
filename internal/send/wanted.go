package send

import (
	"fmt"
	"slices"
	"time"

	"github.com/deltacdn/delta/cdn"
)

// This is which layers a node is sent: those that it wants.

// recheckEvery is how often it is checked that layers which a node wants have media.
const recheckEvery = 250 * time.Millisecond

// wanted is which layers a node wants.
type wanted struct {
	layers  []string  // their names; nil: all
	checked time.Time // when it was last checked that these have media
}

// claim says that the receiver wants l, until release is called.
func (s *Set) claim(l *cdn.Layer) (release func()) {
	if s.closed {
		return func() {}
	}
	return l.Demand()
}

// Want has a node get only the layers named of tracks that have several; nil: all. If
// those of a track have no media, the lowest that has is sent in their place: the node
// sees that the stream is live, and has what its viewers can be sent. In place of those
// that are held back ([Set.Bound], [cdn.Layer.HeldBack]) it is the highest that is not.
func (s *Set) Want(names []string) {
	s.change()
	defer s.mu.Unlock()
	s.wanted.layers = names
	s.applyWanted(time.Now())
}

// applyWanted has the senders send, or not, as the node wants.
func (s *Set) applyWanted(now time.Time) {
	s.wanted.checked = now
	for _, snd := range s.senders {
		snd.stopped.missed = snd.stopped.held && (snd.stopped.missed || s.asks(snd.feed.layer))
		if snd.video {
			snd.want(now, s.wants(now, snd))
		}
	}
}

// wants reports whether the node wants what a sender sends.
func (s *Set) wants(now time.Time, snd *Sender) bool {
	t, bounded, others := snd.line.Track, false, false
	if snd.stopped.held {
		return false
	}
	if s.asks(snd.feed.layer) {
		return true
	}
	for _, l := range t.Layers() {
		switch {
		case !s.asks(l):
		case s.holds(l) || l.HeldBack():
			bounded = true
		case hasMedia(now, l):
			others = true
		}
	}
	switch {
	case bounded:
		return snd.feed.layer == s.highest(now, t)
	case others:
		return false
	}
	return snd.feed.layer == lowest(now, t)
}

// asks reports whether the node has asked for a layer.
func (s *Set) asks(l *cdn.Layer) bool {
	return s.wanted.layers == nil || len(l.Track().Layers()) == 1 || slices.Contains(s.wanted.layers, l.Name())
}

// highest returns the best layer that has media and is not held back; nil: there is none.
func (s *Set) highest(now time.Time, t *cdn.Track) (high *cdn.Layer) {
	for _, l := range ranked(t) {
		if hasMedia(now, l) && !s.holds(l) {
			high = l
		}
	}
	return high
}

// lowest returns the layer with the lowest bitrate of those that have media.
func lowest(now time.Time, t *cdn.Track) (low *cdn.Layer) {
	for _, l := range t.Layers() {
		if hasMedia(now, l) && (low == nil || l.Bitrate() < low.Bitrate()) {
			low = l
		}
	}
	return low
}

// want has the sender send, or not.
func (s *Sender) want(now time.Time, yes bool) {
	switch {
	case (s.mode != idle) == yes || s.set.closed:
	case !yes:
		s.wait.restart = s.mode.awaitsKeyframe() || s.snapshot.packets != nil
		s.enter(idle, onUnwanted)
		s.feed.release()
		s.feed.release = func() {}
	default:
		s.feed.release = s.set.claim(s.feed.layer)
		s.goOn(now)
	}
}

// goOn ends being idle. The sender goes on with the newest keyframe, unless the receiver
// has that already: then it goes on where it stopped. Numbers continue as if nothing had
// been left out.
func (s *Sender) goOn(now time.Time) {
	s.set.padding.kept = nil
	if s.stopped.asked {
		s.stopped.asked = false
		s.feed.layer.RequestKeyframe()
	}
	peek := s.feed.cursor
	p := peek.Next()
	switch {
	case !s.set.started:
		s.enter(waiting, onWanted)
	case s.wait.restart || s.feed.layer.Newer(s.feed.cursor) != s.feed.cursor:
		s.enter(waiting, onWanted)
		s.start(now)
		s.feed.lost = s.feed.cursor.Lost()
	case p != nil:
		s.enter(catchingUp, onWanted)
		s.accelerate(now, p.Timestamp)
	default:
		s.enter(live, onWanted)
	}
}

// Holds reports whether the sender sends nothing, since the node does not want its layer.
func (s *Sender) Holds() bool {
	s.set.mu.Lock()
	defer s.set.mu.Unlock()
	return s.mode == idle
}

// ErrOutgrown says that a node has to ask for the stream anew: it has other
// layers now. It wraps [cdn.ErrSuperseded].
var ErrOutgrown = fmt.Errorf("%w: the stream has other layers now", cdn.ErrSuperseded)

// Outgrown reports whether the stream has layers that a node does not know, or all
// layers of a track that it is sent have ended while others are live: as after a takeover
// from simulcast to none, and back.
func (s *Set) Outgrown() bool {
	if !s.config.Node {
		return false
	}
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.senders, func(snd *Sender) bool {
		return uint16(len(snd.line.Track.Layers())) != snd.known || s.deserted(now, snd.line)
	})
}

// deserted reports whether of a track only layers are live that are not sent.
func (s *Set) deserted(now time.Time, l *Line) bool {
	var sent []*cdn.Layer
	for _, snd := range s.senders {
		if snd.line == l {
			sent = append(sent, snd.feed.layer)
		}
	}
	isOther := func(l *cdn.Layer) bool { return isLive(now, l) && !slices.Contains(sent, l) }
	return slices.ContainsFunc(l.Track.Layers(), isOther) && !slices.ContainsFunc(sent, func(l *cdn.Layer) bool { return hasMedia(now, l) })
}
