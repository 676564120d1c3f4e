package send

import (
	"slices"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/budget"
	"github.com/deltacdn/delta/internal/codec"
	"github.com/deltacdn/delta/internal/munge"
	"github.com/deltacdn/delta/internal/slow"
)

// A Sender is one RTP stream to the receiver. What can change is guarded by its
// set's mu, and stands with what changes it.
type Sender struct {
	feedState
	// static
	set      *Set
	line     *Line
	track    *cdn.Track // the line's
	rid      string
	pictures *codec.Pictures
	// descriptor is the track's id of the dependency descriptor, 0: none, or
	// layers are never switched
	descriptor uint8
	video      bool

	wishState
	repairState
	wireState
	munger   munge.Munger[*run]
	reported reportState
	// up to here a packet needs it, if nothing else is to be done

	waitState
	startState
	switchState
	picture  pictureState
	shedding shedState
	// keyframes is the viewer's share of what is asked of the publisher
	keyframes budget.Requests
	heardAsk  time.Time      // when a request was last passed on
	slow      *slow.Detector // nil for what is not judged by itself: sound, and nodes
}

// feedState is what is sent now, and as what.
type feedState struct {
	cursor   cdn.Cursor
	lost     uint64    // of the cursor, as seen
	run      *run      // the present one; nil before the first
	newestAt time.Time // when the newest packet was sent
	layer    *cdn.Layer
	release  func() // gives back what is claimed of it
}

func newSender(s *Set, l *Line, layer *cdn.Layer, rid string) *Sender {
	info := l.Track.Info()
	descriptor := uint8(slices.Index(info.Extensions, uriDescriptor) + 1)
	if rid != "" {
		descriptor = 0
	}
	snd := &Sender{
		set: s, line: l, track: l.Track, rid: rid, video: info.Kind == cdn.Video,
		pictures: codec.PicturesFor(info.Codec.MimeType), descriptor: descriptor,
		feedState:   feedState{layer: layer, release: s.claim(layer)},
		repairState: repairState{budget: budget.New(repairs(s.config.Node))},
		waitState:   waitState{waiting: true},
		wishState:   wishState{known: len(l.Track.Layers())},
	}
	if snd.video && !s.config.Node {
		snd.slow = slow.New(s.config.Slow)
	}
	return snd
}

// steady reports whether what comes next is to be sent as what came last was, and
// nothing else is to be done.
func (s *Sender) steady() bool {
	return s.out.To != nil && s.run != nil && !s.waiting && s.opening == nil && s.haste == nil && s.next == nil &&
		s.reported.packets > 0 && !s.reported.stale && s.shedding.behind <= late
}

// goesOn sends what lies before the cursor, in a steady state. It is false where
// that needs another look.
func (s *Sender) goesOn(now time.Time) bool {
	c := s.cursor
	p := c.Next()
	if p != nil && now.Sub(p.Arrival) > late {
		return false
	}
	for ; p != nil; p = c.Next() {
		if c.Lost() != s.lost {
			return false
		}
		s.cursor = c
		s.send(now, p)
	}
	return true
}

// dueAt returns when the sender has something to do though nothing comes; zero: it
// has not.
func (s *Sender) dueAt(now time.Time) time.Time {
	switch {
	case s.idle || s.out.To == nil:
		return time.Time{}
	case s.waiting && !s.asked:
		return s.askAt
	case !s.waiting && !s.keyframes.Due().IsZero():
		return s.keyframes.Due()
	case s.haste != nil && (s.opening != nil || !s.waiting):
		return now.Add(tick)
	}
	return time.Time{}
}

// tick is how often a receiver that begins is served where nothing comes.
const tick = 50 * time.Millisecond

// drain sends what lies before the cursor.
func (s *Sender) drain(now time.Time) {
	if s.out.To == nil {
		return
	}
	s.advance(now)
	s.account(now)
}

func (s *Sender) advance(now time.Time) {
	s.open(now)
	s.follow(now)
	s.trySwitch(now)
	s.leap()
	s.shed(now)
	s.ask(now)
	s.catchUpRequests(now)
	for p := s.upcoming(now); p != nil; p = s.upcoming(now) {
		if lost := s.cursor.Lost(); lost != s.lost {
			s.lost = lost
			if s.video {
				s.pause(now, time.Time{}, now)
			}
		}
		if s.waiting {
			if !p.Keyframe {
				continue
			}
			if p.Arrival.Before(s.resume) {
				s.missed(now)
				continue
			}
			s.begin(now, s.layer, p)
		}
		s.send(now, p)
	}
	if s.haste != nil {
		s.shedding.served = s.layer.Live()
	}
}

// A run is a stretch of a layer that is sent without interruption.
type run struct {
	layer *cdn.Layer
	// What is added to the picture identifiers, and to the frame number of the
	// dependency descriptor.
	shift      codec.Picture
	moved      bool // whether shift applies
	frameShift uint16
}

// begin begins a run of layer l at its keyframe p, which the caller sends next.
// What a decoder needs ahead of p is sent here.
func (s *Sender) begin(now time.Time, l *cdn.Layer, p *cdn.Packet) {
	next, at := &run{layer: l}, place{as: p.Timestamp}
	if s.run != nil && !s.set.config.Node {
		at = s.place(now, l, p.Timestamp)
	}
	switch {
	case l != s.layer:
		s.picture.switched(s, next, p)
		s.arrived()
	case s.run != nil:
		*next = *s.run
	}
	s.layer, s.run, s.waiting = l, next, false
	s.lead(now, p, at.as)
	s.arrive(now, next, p, at)
}

// lead sends the packets that belong ahead of keyframe p, with timestamp as.
func (s *Sender) lead(now time.Time, p *cdn.Packet, as uint64) {
	if !s.video {
		return
	}
	all := s.layer.Lead(p)
	for i, q := range all {
		if i == 0 || q.Seq != all[i-1].Seq+1 || q.Timestamp != all[i-1].Timestamp {
			s.munger.Start(s.run, q.Seq, q.Timestamp, as)
		}
		s.send(now, q)
	}
}

// send gives p the viewer's numbers and writes it.
func (s *Sender) send(now time.Time, p *cdn.Packet) {
	before, _ := s.munger.Last()
	seq, ts, ok := s.munger.Map(p.Seq, p.Timestamp)
	if !ok {
		return
	}
	s.fill(p, s.run, seq, uint32(ts), false)
	payload := s.picture.apply(s, p, seq > before)
	n, err := s.write(payload)
	if err != nil {
		return // the connection is going; the session hears of it
	}
	s.set.sentAt = now
	if seq > before {
		s.newestAt = now
		if p.Keyframe && s.video {
			s.keyframes.Keyframe(now)
		}
	}
	s.unaccounted += n
	s.reported.sent(len(payload))
	s.settle(now, p, seq, uint32(ts))
}
