package send

import (
	"slices"
	"time"

	"github.com/deltacdn/delta/cdn"
)

// wishState is what a node wants of a sender.
type wishState struct {
	idle   bool // nothing is sent, since it does not want the layer
	begged bool // for a keyframe, meanwhile
	known  int  // how many layers the track had at first
}

// claim says that the receiver wants l, until release is called.
func (s *Set) claim(l *cdn.Layer) (release func()) {
	if s.closed {
		return func() {}
	}
	return l.Demand()
}

// Close gives back what the senders have of the stream. Nothing may be sent any
// more.
func (s *Set) Close() {
	s.change()
	defer s.mu.Unlock()
	s.closed = true
	for _, snd := range s.senders {
		snd.release()
		snd.aim(nil)
	}
}

// Want has a node get only the layers named of tracks that have several; nil:
// all. If nothing comes of those of a track, the lowest that comes is sent in
// their place: the node sees that the stream lives, and has what its viewers can
// follow.
func (s *Set) Want(names []string) {
	s.change()
	defer s.mu.Unlock()
	s.wanted = names
	s.choose(time.Now())
}

// choose holds back the layers that the node does not want.
func (s *Set) choose(now time.Time) {
	s.chosen = now
	for _, snd := range s.senders {
		if len(snd.line.Track.Layers()) > 1 {
			snd.want(now, s.sends(now, snd))
		}
	}
}

func (s *Set) sends(now time.Time, snd *Sender) bool {
	t := snd.line.Track
	if s.wanted == nil || slices.Contains(s.wanted, snd.layer.Name()) {
		return true
	}
	for _, l := range t.Layers() {
		if slices.Contains(s.wanted, l.Name()) && fed(now, l) {
			return false
		}
	}
	return snd.layer == lowest(now, t)
}

// lowest returns the layer with the lowest bitrate of those that are fed.
func lowest(now time.Time, t *cdn.Track) (low *cdn.Layer) {
	for _, l := range t.Layers() {
		if fed(now, l) && (low == nil || l.Bitrate() < low.Bitrate()) {
			low = l
		}
	}
	return low
}

// want has the sender send, or hold back. It goes on with the newest keyframe,
// unless the receiver has that already: then where it stopped. Numbers go on as
// if nothing had been left out.
func (s *Sender) want(now time.Time, yes bool) {
	switch {
	case s.idle != yes || s.set.closed:
	case !yes:
		s.waiting = s.waiting || s.opening != nil // which was not sent yet
		s.idle, s.haste, s.opening = true, nil, nil
		s.release()
		s.release = func() {}
	default:
		s.idle = false
		s.release = s.set.claim(s.layer)
		s.goOn(now)
	}
}

// goOn begins to send again.
func (s *Sender) goOn(now time.Time) {
	if s.begged {
		s.begged = false
		s.layer.RequestKeyframe()
	}
	ahead := s.cursor
	p := ahead.Next()
	switch {
	case !s.set.started:
	case s.waiting || s.layer.Newer(s.cursor) != s.cursor:
		s.waiting = true
		s.start(now)
		s.lost = s.cursor.Lost()
	case p != nil:
		s.haste = &haste{}
		s.hurry(now, p.Seq, p.Timestamp)
	}
}

// Holds reports whether the sender is not to send, since the node does not want
// its layer.
func (s *Sender) Holds() bool {
	s.set.mu.Lock()
	defer s.set.mu.Unlock()
	return s.idle
}

// aim notes what the sender goes over to at its next keyframe, nil: nothing.
func (s *Sender) aim(l *cdn.Layer) {
	if s.next == l {
		return
	}
	if s.next != nil {
		s.releaseNext()
	}
	if s.next = l; l != nil {
		s.releaseNext = s.set.claim(l)
	}
}

// arrived notes that the sender has gone over.
func (s *Sender) arrived() {
	s.release()
	s.release, s.next = s.releaseNext, nil
}
