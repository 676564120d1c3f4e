package send

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/deltacdn/delta/cdn"
)

// Pick returns the layer to begin with: the one named, or, while nothing comes of
// it, the nearest that comes; without a name the best one. A name that the
// publisher has not declared is [cdn.ErrNotFound].
func Pick(t *cdn.Track, name string) (*cdn.Layer, error) {
	if t.Info().Kind == cdn.Video && name != "" {
		if l := t.Layer(name); l != nil {
			return nearest(time.Now(), t, l), nil
		}
		return nil, &cdn.Error{Op: "play", Stream: t.Stream().ID(), Err: fmt.Errorf("%w: no layer %q", cdn.ErrNotFound, name)}
	}
	return best(t, nil), nil
}

// best returns the layer with the highest bitrate below that of under; nil is
// no bound. Of those not yet measured the last one that is fed counts as best.
func best(t *cdn.Track, under *cdn.Layer) *cdn.Layer {
	var top *cdn.Layer
	var rate, bound float64
	var alive bool
	if under != nil {
		bound = under.Bitrate()
	}
	now := time.Now()
	for _, l := range t.Layers() {
		r, f := l.Bitrate(), fed(now, l)
		if under != nil && (l == under || r == 0 || r >= bound) {
			continue
		}
		if top == nil || f && !alive || f == alive && r >= rate {
			top, rate, alive = l, r, f
		}
	}
	return top
}

// A layer that nothing came of for starvedAfter is not fed; checkEvery is how
// often that is looked at; and a layer is taken for a better one if its bitrate
// is so much higher.
const (
	starvedAfter = time.Second
	checkEvery   = 250 * time.Millisecond
	clearly      = 1.3
	// mostBehind is how far before what was sent last a keyframe can be: more than
	// a node keeps.
	mostBehind = 15 * time.Second
)

// switchState is which layer a sender goes over to.
type switchState struct {
	next        *cdn.Layer // at its next keyframe; nil: none
	ahead       cdn.Cursor // of next
	releaseNext func()     // gives back what is claimed of it
	held        bool       // on a lower layer than there is, since the viewer is slow
	check       time.Time  // when to see again which layers are fed
}

// follow goes over to the layer that the viewer is to have now. Publishers begin
// with the low ones and drop the high ones when they have not the bandwidth.
func (s *Sender) follow(now time.Time) {
	choice := s.video && s.rid == "" && !s.set.config.Node && len(s.line.Track.Layers()) > 1
	if !choice || now.Before(s.check) {
		return
	}
	s.check = now.Add(checkEvery)
	var to *cdn.Layer
	if named := s.line.Track.Layer(s.set.config.Layer); named != nil {
		to = nearest(now, s.line.Track, named)
	} else {
		to = s.best(now)
	}
	switch {
	case s.run == nil && to != s.layer:
		s.beginWith(now, to)
	case s.run != nil:
		s.switchTo(to)
	}
}

// best returns the best layer that is fed, or the one that is sent, or is about to
// be, if that is as good.
func (s *Sender) best(now time.Time) *cdn.Layer {
	is := s.layer
	if s.next != nil {
		is = s.next // its keyframe is on the way
	}
	starved := !fed(now, s.layer)
	if starved && s.next != nil && fed(now, s.next) {
		return is
	}
	top := best(s.line.Track, nil)
	if fed(now, top) && (starved || !s.held && top.Bitrate() > clearly*s.layer.Bitrate()) {
		return top
	}
	return is
}

// nearest returns the layer named if it is fed, and else, of those that are, the
// next one below it, or, if there is none, the next one above.
func nearest(now time.Time, t *cdn.Track, named *cdn.Layer) *cdn.Layer {
	if fed(now, named) {
		return named
	}
	all := ranked(t)
	at := slices.Index(all, named)
	for i := at - 1; i >= 0; i-- {
		if fed(now, all[i]) {
			return all[i]
		}
	}
	for _, l := range all[at+1:] {
		if fed(now, l) {
			return l
		}
	}
	return named
}

// ranked returns a track's layers, the lowest first. That is the order in which they
// were declared, or the reverse: what is measured of those that come tells.
func ranked(t *cdn.Track) []*cdn.Layer {
	all := slices.Clone(t.Layers())
	rising, falling := 0, 0
	for i, low := range all {
		for _, high := range all[i+1:] {
			switch a, b := low.Bitrate(), high.Bitrate(); {
			case a == 0 || b == 0:
			case a < b:
				rising++
			case a > b:
				falling++
			}
		}
	}
	if falling > rising {
		slices.Reverse(all)
	}
	return all
}

// beginWith has a receiver that has got nothing yet begin with another layer.
func (s *Sender) beginWith(now time.Time, l *cdn.Layer) {
	s.aim(nil)
	s.release()
	s.layer, s.release = l, s.set.claim(l)
	s.opening, s.haste, s.waiting = nil, nil, true
	if s.set.started {
		s.start(now)
		s.lost = s.cursor.Lost()
	}
}

// fed reports whether the layer comes, or would if it were wanted.
func fed(now time.Time, l *cdn.Layer) bool { return comes(now, l) || l.Dormant() > 0 }

func comes(now time.Time, l *cdn.Layer) bool {
	p := l.Newest()
	return p != nil && now.Sub(p.Arrival) < starvedAfter
}

// switchTo has the sender go over to a layer at its next keyframe.
func (s *Sender) switchTo(l *cdn.Layer) {
	switch l {
	case nil, s.next:
		return
	case s.layer:
		s.aim(nil)
		return
	}
	s.aim(l)
	s.ahead = l.Live()
	l.RequestKeyframe()
}

// trySwitch goes over to the next layer if its keyframe is there.
func (s *Sender) trySwitch(now time.Time) {
	if s.next == nil {
		return
	}
	for p := s.ahead.Next(); p != nil; p = s.ahead.Next() {
		if !p.Keyframe {
			continue
		}
		if pl := s.place(now, s.next, p.Timestamp); pl.behind > fresh {
			s.next.RequestKeyframe() // the layer catches up; nobody is to see that again
			continue
		}
		s.cursor, s.lost = s.ahead, s.ahead.Lost()
		s.begin(now, s.next, p)
		s.send(now, p)
		return
	}
}

// A place is where a run begins in what the receiver is sent.
type place struct {
	as uint64 // timestamp
	// settles: it is known how the receiver's timestamps go with the publisher's
	// clock. What is then added to the layer's is shift, soon if not at once.
	settles bool
	shift   uint64
	behind  time.Duration // of what was sent last
}

// place finds the place of a run of layer l that begins at timestamp ts: at the
// same instant of the publisher's clock, or, if that was sent already or is long
// ago, as if it were live.
func (s *Sender) place(now time.Time, l *cdn.Layer, ts uint64) place {
	_, last := s.munger.Last()
	next := last + s.ticks(time.Millisecond)
	live := s.live(now)
	shift, ok := s.shiftTo(now, l, ts)
	as := ts + shift
	behind := s.duration(int64(last - as))
	if !ok || behind >= mostBehind {
		return place{as: max(next, live)}
	}
	if s.duration(int64(live-as)) > ahead {
		next = max(next, live)
	}
	return place{as: max(as, next), settles: true, shift: shift, behind: behind}
}

// shiftTo returns what is added to timestamp ts of layer l, and to all after it,
// to go with the publisher's clock as the present layer does. It is false if that
// is not known: while it shows how far behind the receiver is, and for layers of
// different clocks, by which ts would not have come yet.
func (s *Sender) shiftTo(now time.Time, l *cdn.Layer, ts uint64) (shift uint64, ok bool) {
	if s.adrift() {
		return 0, false
	}
	shift = s.munger.Shift()
	if l == s.layer {
		return shift, true
	}
	from, ok := s.layer.Clock()
	to, ok2 := l.Clock()
	if !ok || !ok2 || from.Estimated != to.Estimated {
		return 0, false
	}
	_, present := from.At(now)
	present += shift
	apart := math.Round(to.NTP.Sub(from.NTP).Seconds() * float64(from.Rate))
	shift += from.RTP + uint64(int64(apart)) - to.RTP
	_, last := s.munger.Last()
	return shift, s.duration(int64(ts+shift-max(last, present))) <= time.Second
}
