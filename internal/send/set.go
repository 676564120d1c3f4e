// Package send gives one receiver, a viewer or another node, a stream's tracks: where to
// begin in the ring, the receiver's own numbers and header extensions, its feedback and
// repairs, and what it loses when it is slow. How packets get to the receiver is not known
// here.
//
// A [Set] is one receiver's senders, and a [Sender] one RTP stream. A Sender is always in
// one mode, of which mode.go has the picture. Three questions have one place each:
//
//   - What does the receiver's feedback say of its path? Set.handle gives every message to
//     the sender that it is about, with the time, after it has told what was sent until then
//     (Sender.account).
//   - Which layer does a viewer get? Sender.chooseLayer says so as bitrates and limits
//     change, and Sender.judge as the path does. Both call Sender.switchTo or Sender.pause.
//   - When does a packet leave? Sender.nextPacket holds the cursor back until a packet is
//     due, and Sender.dueAt says when that is. Media stay in the ring meanwhile.
package send

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/send/slow"
)

// Config says what a receiver gets.
type Config struct {
	// Layer names the layer that a viewer wants; empty: the best.
	Layer string
	// MaxBitrate returns the highest bitrate, in bits a second, of the layers that a viewer
	// is sent, and the name of that limit; 0: any. If no layer's is so low, the lowest layer
	// is sent. It may change. Nil: any.
	MaxBitrate func() (bits int, limit string)
	// Node: the receiver is another node, which gets all layers that it wants,
	// and repairs for many.
	Node bool
	// Server: the receiver is a server of another make, which gets one layer of each
	// track, as a viewer does, and sends it on to many: they want repairs and keyframes.
	Server bool
	// Resumes: a node has had some of the stream already.
	Resumes bool
	// Start says with what a receiver begins. Of a node, StartDefault is StartAsk.
	Start Start
	// Playout, if not nil, goes out with each video packet.
	Playout *PlayoutDelay
	// Slow bounds what is done about viewers whose path is too narrow for the stream.
	Slow slow.Config
	// OnSlow is told each time that a slow viewer gets a lower layer, or its video is
	// paused. It must not block.
	OnSlow func(layer string, paused bool)
	// OnShed is told each time that the receiver loses something because this
	// node is behind. It must not block.
	OnShed func()
	// OnLate is told each time that the receiver is served more than 40 ms after it could
	// have been, since this node is behind. It must not block.
	OnLate func()
	// OnLayer is called each time that the receiver is sent another layer than before, with
	// the set's lock held. It must not block, nor call the set. If nil, nobody is told.
	OnLayer func()
	// OnStep is told how far the receiver's start is, with the set's lock held. It must not
	// block, nor call the set.
	OnStep func(Step)

	// onMode is told of each change of a sender's mode, in tests.
	onMode func(from, to mode, on event)
}

// servesMany reports whether the receiver asks for repairs and keyframes for others.
func (c Config) servesMany() bool { return c.Node || c.Server }

// PlayoutDelay bounds how long a player may hold frames back. It is a
// suggestion, to the precision of 10 ms and up to 40.95 s.
type PlayoutDelay struct{ Min, Max time.Duration }

// A Set is the senders of one receiver. Its methods may be called concurrently.
type Set struct {
	// While steady, and until nextCheck, Consume only sends what has come: its fast path.
	// What that takes stands first, here and in the senders. A busy node's processor has to
	// fetch it from memory for each burst, 64 bytes at a time.
	mu        sync.Mutex // guards what changes here and in the senders
	steady    bool
	started   bool
	closed    bool
	nextCheck time.Time
	senders   []*Sender
	to        RTPWriter    // while Consume runs, if it was given one
	sentAt    time.Time    // when media last went out
	idle      atomic.Int64 // sentAt, for Idle, in Unix nanoseconds
	inbox     inbox
	few       [2]*Sender // the first of senders

	reports   []rtcp.Packet // that Consume returns
	wanted    []string      // layers, by a node; nil: all
	rechecked time.Time     // when it was last checked that those have media
	judged    time.Time     // when the receiver was last checked for slowness
	breaker   slow.Breaker
	first     firstFrame
	config    Config      // static, but for CatchUp and SetLayer
	room      func() bool // while ConsumeWhile runs: whether video may be sent; nil: it may
	skipped   []measure   // by senders for lack of room: ConsumeWhile tells of it, without the lock
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

// change locks s.mu and keeps the next [Set.Consume] from the fast path.
func (s *Set) change() {
	s.mu.Lock()
	s.steady = false
}

// Add adds a sender of layer, and returns it. If the receiver gets several layers of the
// track, rid is the layer's, and otherwise empty.
func (s *Set) Add(l *Line, layer *cdn.Layer, rid string) *Sender {
	s.change()
	defer s.mu.Unlock()
	snd := newSender(s, l, layer, rid)
	s.senders = append(s.senders, snd)
	return snd
}

// Warm asks for the keyframes that will be needed, while the receiver is connecting.
func (s *Set) Warm() {
	s.change()
	defer s.mu.Unlock()
	for _, snd := range s.senders {
		if snd.video {
			snd.findOpening(time.Now())
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
		if snd.mode != idle {
			snd.start(now)
		}
	}
}

// Consume sends what has come since the last time, and returns the sender reports that are
// due. They are valid until the next call. If to is not nil, media goes there, and not where
// the senders are bound to.
func (s *Set) Consume(now time.Time, to RTPWriter) []rtcp.Packet {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.to = to
	defer func() { s.to = nil }()
	s.inbox.open()
	defer s.drainInbox(now)
	if s.fastPath(now) {
		return nil
	}
	s.reports = s.reports[:0]
	if s.wanted != nil && now.Sub(s.rechecked) >= recheckEvery {
		s.applyWanted(now)
	}
	for _, snd := range s.senders {
		if snd.mode == idle {
			continue
		}
		snd.advance(now)
		s.reports = snd.appendReport(s.reports, now)
	}
	s.noteFirst()
	s.plan(now)
	return s.reports
}

// checkEvery is how often all is checked, though nothing has happened.
const checkEvery = 100 * time.Millisecond

// plan decides until when the fast path will do, and has the senders served when they have
// something to do though no packet comes.
func (s *Set) plan(now time.Time) {
	s.nextCheck = now.Add(checkEvery)
	s.steady = !s.awaitsFrame()
	for _, snd := range s.senders {
		if snd.mode == idle {
			continue
		}
		if at := snd.dueAt(now); !at.IsZero() {
			snd.line.Track.Stream().WakeAt(at)
			s.checkBy(at)
		}
		s.checkBy(snd.reports.at.Add(reportInterval))
		s.steady = s.steady && snd.steady()
	}
}

func (s *Set) checkBy(at time.Time) {
	if at.Before(s.nextCheck) {
		s.nextCheck = at
	}
}

// fastPath sends what has come if there is nothing else to do, and reports whether there
// was not.
func (s *Set) fastPath(now time.Time) bool {
	if !s.steady || !now.Before(s.nextCheck) {
		return false
	}
	for _, snd := range s.senders {
		if snd.mode != idle && !snd.fastPath(now) {
			return false
		}
	}
	return true
}

// Close gives up the senders' claims on the stream. Nothing must be sent any more.
func (s *Set) Close() {
	s.change()
	defer s.mu.Unlock()
	s.closed = true
	for _, snd := range s.senders {
		snd.feed.release()
		snd.aim(nil)
	}
}

// Sources returns the SSRCs of the senders that were bound.
func (s *Set) Sources() (all []uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, snd := range s.senders {
		if snd.wire.out.SSRC != 0 {
			all = append(all, snd.wire.out.SSRC)
		}
	}
	return all
}
