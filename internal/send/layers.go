package send

import (
	"fmt"
	"time"

	"github.com/deltacdn/delta/cdn"
)

// Pick returns the layer named, or the best one.
func Pick(t *cdn.Track, name string) (*cdn.Layer, error) {
	if t.Info().Kind == cdn.Video && name != "" {
		if l := t.Layer(name); l != nil {
			return l, nil
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
	// mostBehind is how old the keyframe of a layer can be that catches up: more
	// than a node keeps.
	mostBehind = 15 * time.Second
)

// follow goes over to the best layer that is fed. Publishers begin with the low
// ones and drop the high ones when they have not the bandwidth.
func (s *Sender) follow(now time.Time) {
	choice := s.video && s.rid == "" && s.set.config.Layer == "" && len(s.line.Track.Layers()) > 1
	if !choice || now.Before(s.check) {
		return
	}
	s.check = now.Add(checkEvery)
	starved := !fed(now, s.layer)
	if starved && s.next != nil && fed(now, s.next) {
		return // its keyframe is on the way
	}
	top := best(s.line.Track, nil)
	if !fed(now, top) {
		return
	}
	if starved || !s.held && top.Bitrate() > clearly*s.layer.Bitrate() {
		s.switchTo(top)
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
		if _, behind := s.align(now, s.next, p.Timestamp); behind > fresh && comes(now, s.layer) {
			s.next.RequestKeyframe() // the layer catches up; nobody is to see that again
			continue
		}
		s.cursor, s.lost = s.ahead, s.ahead.Lost()
		s.begin(now, s.next, p)
		s.send(now, p)
		return
	}
}

// align returns the timestamp with which the viewer's stream goes on in layer
// l: the same instant of the publisher's clock. If that is behind what was sent
// already, it is the present, and how far behind.
func (s *Sender) align(now time.Time, l *cdn.Layer, ts uint64) (as uint64, behind time.Duration) {
	_, last := s.munger.Last()
	rate := uint64(s.line.Track.Info().Codec.ClockRate)
	next := last + rate/30
	from, ok := s.layer.Clock()
	to, ok2 := l.Clock()
	if !ok || !ok2 || from.Estimated != to.Estimated {
		return next, 0
	}
	ticks := int64(to.Time(ts).Sub(from.NTP).Seconds() * float64(rate))
	as = from.RTP + uint64(ticks) + s.munger.Shift()
	_, present := from.At(now)
	present += s.munger.Shift()
	apart := int64(as - last)
	behind = time.Duration(float64(-apart) / float64(rate) * float64(time.Second))
	switch {
	case behind > ahead && behind < mostBehind:
		return max(next, present), behind
	case apart <= 0 || int64(as-max(last, present)) > int64(rate):
		return next, 0
	}
	return as, 0
}
