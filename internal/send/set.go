// Package send gives one receiver, a viewer or another node, a stream's tracks:
// where to begin in the ring, the receiver's own numbers and header extensions,
// its feedback and repairs, and what it loses when it is slow. How packets get
// to the receiver is not known here.
package send

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/slow"
)

// Config says what a receiver gets.
type Config struct {
	// Layer names the layer that a viewer wants; empty: the best.
	Layer string
	// Node: the receiver is another node, which gets all layers that it wants,
	// and repairs for many.
	Node bool
	// Resumes: a node has had some of the stream already.
	Resumes bool
	// Start says with what a receiver begins. A node that does not say that it
	// wants to catch up begins as with StartAsk.
	Start Start
	// Playout, if not nil, goes out with each video packet.
	Playout *PlayoutDelay
	// Slow bounds what is done about viewers that cannot take the stream.
	Slow slow.Config
	// OnSlow is told of each measure against a slow viewer. It must not block.
	OnSlow func(layer string, paused bool)
	// OnShed is told each time that the receiver loses something because this
	// node is behind. It must not block.
	OnShed func()
}

// PlayoutDelay bounds how long a player may hold frames back. It is a
// suggestion, to the precision of 10 ms and up to 40.95 s.
type PlayoutDelay struct{ Min, Max time.Duration }

// A Set is the senders of one receiver. Its methods may be called concurrently.
type Set struct {
	// Until look there is nothing to do but to go on: see [Set.Consume]. What that
	// takes stands first, here and in the senders. Whatever the next burst needs, a
	// busy node's processor has to fetch again from memory, 64 bytes at a time.
	mu      sync.Mutex // guards what changes in the senders, too
	calm    bool
	started bool
	closed  bool
	look    time.Time
	senders []*Sender
	to      RTPWriter    // while Consume runs, if it was given one
	sentAt  time.Time    // when media last went out
	idle    atomic.Int64 // sentAt, for Idle, in Unix nanoseconds
	inbox   inbox
	few     [2]*Sender // the first of senders

	reports []rtcp.Packet
	wanted  []string  // layers, by a node; nil: all
	chosen  time.Time // when it was looked at last which are sent
	judged  time.Time // when the receiver was last checked for slowness
	breaker slow.Breaker
	config  Config // static, but for CatchUp
}

// New returns a Set without senders.
func New(c Config) *Set {
	if c.Node && c.Start.Mode == StartDefault {
		c.Start.Mode = StartAsk
	}
	c.Start = c.Start.withDefaults()
	s := &Set{config: c}
	if !c.Node {
		s.breaker = slow.NewBreaker(c.Slow)
	}
	s.senders = s.few[:0]
	return s
}

// change is the lock for all that may want more of the next [Set.Consume] than
// that it goes on.
func (s *Set) change() {
	s.mu.Lock()
	s.calm = false
}

// Add makes a sender of layer, under rid if the receiver gets several layers of
// the track.
func (s *Set) Add(l *Line, layer *cdn.Layer, rid string) *Sender {
	s.change()
	defer s.mu.Unlock()
	snd := newSender(s, l, layer, rid)
	s.senders = append(s.senders, snd)
	return snd
}

// Warm asks for the keyframes that will be needed, while the receiver connects.
func (s *Set) Warm() {
	s.change()
	defer s.mu.Unlock()
	for _, snd := range s.senders {
		if snd.video {
			snd.choose(time.Now())
		}
	}
}

// CatchUp has a node catch up, if it has not started yet.
func (s *Set) CatchUp() {
	s.change()
	defer s.mu.Unlock()
	s.config.Start.Mode = StartCatchUp
}

// Start puts the cursors where the receiver begins.
func (s *Set) Start() {
	s.change()
	defer s.mu.Unlock()
	now := time.Now()
	s.started = true
	for _, snd := range s.senders {
		if !snd.idle {
			snd.start(now)
		}
	}
}

// Consume sends what has come since the last time, and returns the sender
// reports that are due. They are valid until the next call. If to is not nil,
// media goes there, and not where the senders are bound to.
func (s *Set) Consume(now time.Time, to RTPWriter) []rtcp.Packet {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.to = to
	defer func() { s.to = nil }()
	s.inbox.open()
	defer s.consumed(now)
	if s.goesOn(now) {
		return nil
	}
	s.reports = s.reports[:0]
	if s.wanted != nil && now.Sub(s.chosen) >= checkEvery {
		s.choose(now)
	}
	for _, snd := range s.senders {
		if snd.idle {
			continue
		}
		snd.drain(now)
		s.reports = snd.appendReport(s.reports, now)
	}
	s.settle(now)
	return s.reports
}

// lookEvery is how often everything is looked at, though nothing has happened.
const lookEvery = 100 * time.Millisecond

// settle sees until when there will be nothing to do but to go on, and has the
// senders served again when they have something to do though nothing comes.
func (s *Set) settle(now time.Time) {
	s.calm, s.look = true, now.Add(lookEvery)
	for _, snd := range s.senders {
		if at := snd.dueAt(now); !at.IsZero() {
			snd.track.Stream().WakeAt(at)
			if at.Before(s.look) {
				s.look = at
			}
		}
	}
	for _, snd := range s.senders {
		if snd.idle {
			continue
		}
		if s.calm = snd.steady(); !s.calm {
			return
		}
		if due := snd.reported.at.Add(reportInterval); due.Before(s.look) {
			s.look = due
		}
	}
}

// goesOn sends what has come if that is all there is to do, and reports whether it
// was.
func (s *Set) goesOn(now time.Time) bool {
	if !s.calm || !now.Before(s.look) {
		return false
	}
	for _, snd := range s.senders {
		if !snd.idle && !snd.goesOn(now) {
			return false
		}
	}
	return true
}

// ErrOutgrown says that a node has to ask for the stream anew: it has other
// layers now. It wraps [cdn.ErrSuperseded].
var ErrOutgrown = fmt.Errorf("%w: the stream has other layers now", cdn.ErrSuperseded)

// Outgrown reports whether the stream has layers that a node does not know, or
// all that it is sent of a track have ended while others come: as after a
// takeover from simulcast to none, and back.
func (s *Set) Outgrown() bool {
	if !s.config.Node {
		return false
	}
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.senders, func(snd *Sender) bool {
		return len(snd.line.Track.Layers()) != snd.known || s.deserted(now, snd.line)
	})
}

// deserted reports whether only what is not sent of a track comes.
func (s *Set) deserted(now time.Time, l *Line) bool {
	var sent []*cdn.Layer
	for _, snd := range s.senders {
		if snd.line == l {
			sent = append(sent, snd.layer)
		}
	}
	other := func(l *cdn.Layer) bool { return comes(now, l) && !slices.Contains(sent, l) }
	return slices.ContainsFunc(l.Track.Layers(), other) && !slices.ContainsFunc(sent, func(l *cdn.Layer) bool { return fed(now, l) })
}

// Sources returns the SSRCs of what was bound.
func (s *Set) Sources() (all []uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, snd := range s.senders {
		if snd.out.SSRC != 0 {
			all = append(all, snd.out.SSRC)
		}
	}
	return all
}
