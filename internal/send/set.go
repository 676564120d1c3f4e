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
//     change, and Sender.obey as the path does: see adaptation. Both call Sender.switchTo.
//   - When does a packet leave? Sender.nextPacket holds the cursor back until a packet is
//     due, and the pacer lets it leave. Sender.dueAt says when that is. Media stay in
//     the ring meanwhile.
package send

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/send/allot"
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
	// MaxHeight is the height, in pixels, of the pictures that a viewer is sent at most; 0: any.
	// Layers whose height is not known are no higher. If all are, the lowest layer is sent.
	MaxHeight int
	// Node: the receiver is another node, which gets all layers that it wants,
	// and repairs for many.
	Node bool
	// Server: the receiver is a server of another make, which gets one layer of each
	// track, as a viewer does, and sends it on to many: they want repairs and keyframes.
	Server bool
	// Resumes: a node has had some of the stream already.
	Resumes bool
	// Trunk is the path to a node. If nil, nothing is known of it.
	Trunk *Trunk
	// Start says with what a receiver begins. Of a node, StartDefault is StartAsk.
	Start   Start
	Playout Playout
	// Patience is how many seconds of overload a session outlives: see package slow. If
	// zero, 30 s.
	Patience time.Duration
	// Policy makes what chooses a viewer's video by the viewer's path, for each viewer anew.
	// If nil, it is an [allot.Adaptive] that begins with the best layer.
	Policy func() allot.Policy
	// OnAdapt is told each step that a policy takes, in their order, and that a receiver by
	// TCP takes less than there is. It must not block.
	OnAdapt func(Change)
	// StartRate is what a viewer's path is taken to carry until there is feedback, in bits
	// a second. A burst, such as a keyframe, leaves no faster than that. Where twice the
	// bitrate of what is sent is more, that counts instead. If StartRate is zero or negative,
	// bursts leave at once, also when there is feedback.
	StartRate float64
	// NearAtOnce has bursts leave at once for a viewer that is near (see SetNear), whatever
	// StartRate is, until its path is found to be narrow.
	NearAtOnce bool
	OnBehind   OnBehind
	// OnLayer is called each time that the receiver is sent another layer than before, with
	// the set's lock held. It must not block, nor call the set. If nil, nobody is told.
	OnLayer func()
	// OnStep is told how far the receiver's start is, with the set's lock held. It must not
	// block, nor call the set.
	OnStep func(Step)

	// onMode is told of each change of a sender's mode, in tests.
	onMode func(from, to mode, on event)
}

// OnBehind is told of what a busy node does to a receiver. Its functions must not block. One that
// is nil is told nothing.
type OnBehind struct {
	Shed func() // each time that the receiver loses something because the node is behind
	Late func() // each time that it is served more than 40 ms after it could have been
}

// servesMany reports whether the receiver asks for repairs and keyframes for others.
func (c Config) servesMany() bool { return c.Node || c.Server }

// Playout says what a viewer's player is told of how long to hold pictures back.
type Playout struct {
	// Delay, if not nil, goes out with each video packet.
	Delay *PlayoutDelay
	// Repairs is how long the player is told at most to hold pictures back so that repairs come
	// in time, where its path loses packets. It stays within Delay. If zero, the player is not
	// told.
	Repairs time.Duration
}

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
	near      bool // nothing is paced, as the receiver is near
	wide      wideNumbers
	nextCheck time.Time
	senders   []*Sender
	to        RTPWriter // while Consume runs, if it was given one
	sentAt    time.Time // when media last went out
	pace      pacer
	idle      atomic.Int64 // sentAt, for Idle, in Unix nanoseconds
	inbox     inbox
	few       [2]*Sender // the first of senders

	serveMe    func(at time.Time) // see ServeBy; nil: the stream's consumers are woken
	path       *path              // nil: nobody is told
	adaptation *adaptation        // nil: of a node, without video, or not prepared yet
	changes    changes
	reports    []rtcp.Packet // that Consume returns
	wanted     wanted        // by a node
	breaker    slow.Breaker
	first      firstFrame
	config     Config // static, but for CatchUp and SetLayer
	padding    padding
	room       func() bool // while ConsumeWhile runs: whether video may be sent; nil: it may
}

// New returns a Set without senders.
func New(c Config) *Set {
	if c.Node && c.Start.Mode == StartDefault {
		c.Start.Mode = StartAsk
	}
	c.Start = c.Start.withDefaults()
	s := &Set{config: c}
	s.wide.byTrunk = c.Trunk != nil
	if !c.Node {
		s.breaker = slow.NewBreaker(c.Patience)
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
	slices.SortStableFunc(s.senders, func(a, b *Sender) int { // sound goes first
		return cmp.Compare(a.line.Track.Info().Kind, b.line.Track.Info().Kind)
	})
	return snd
}

// ServeBy gives the set what has Consume called at a time, though nothing may come until
// then. It must neither block nor call the set. Without it all consumers of the stream are
// woken.
func (s *Set) ServeBy(serveMe func(at time.Time)) {
	s.change()
	defer s.mu.Unlock()
	s.serveMe = serveMe
}

// wakeAt has Consume called at a time.
func (s *Set) wakeAt(at time.Time) {
	switch {
	case s.serveMe != nil:
		s.serveMe(at)
	case len(s.senders) > 0: // all are of one stream
		s.senders[0].line.Track.Stream().WakeAt(at)
	}
	s.checkBy(at)
}

// Warm asks for the keyframes that will be needed, while the receiver is connecting.
func (s *Set) Warm() {
	s.change()
	defer s.mu.Unlock()
	s.prepare(time.Now())
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

// SetNear says that the receiver is near, as its connecting has shown: its path can hardly be
// narrow. It has to be called ahead of Start.
func (s *Set) SetNear() {
	s.change()
	defer s.mu.Unlock()
	s.near = s.config.NearAtOnce
}

// Start puts the cursors where the receiver begins.
func (s *Set) Start() {
	s.change()
	defer s.mu.Unlock()
	now := time.Now()
	s.prepare(now)
	s.startEstimating(now)
	s.started = true
	s.repace(now)
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
	reports, changed := s.consume(now, to)
	if changed {
		s.tellChanges()
	}
	return reports
}

// consume is Consume. It also reports whether there are changes to be told.
func (s *Set) consume(now time.Time, to RTPWriter) (reports []rtcp.Packet, changed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.to = to
	s.inbox.open()
	if !s.fastPath(now) {
		reports = s.advance(now)
	}
	s.drainInbox(now)
	s.to = nil
	return reports, s.changes.pending != nil
}

// advance does what is due, and sends what has come.
func (s *Set) advance(now time.Time) []rtcp.Packet {
	clear(s.reports) // which take memory until the next ones are due
	s.reports = s.reports[:0]
	if s.config.Trunk != nil {
		s.wide.on = s.config.Trunk.Awake()
	}
	if s.wanted.layers != nil && now.Sub(s.wanted.checked) >= recheckEvery {
		s.applyWanted(now)
	}
	s.adapt(now, false)
	for _, snd := range s.senders {
		if snd.mode != idle {
			snd.advance(now)
		}
	}
	s.pad(now)
	s.padTrunk(now)
	for _, snd := range s.senders {
		if snd.mode != idle {
			s.reports = snd.appendReport(s.reports, now)
		}
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
	s.pace.waits = false
	s.repace(now)
	var serve time.Time
	for _, snd := range s.senders {
		if snd.mode == idle {
			continue
		}
		s.pace.waits = s.pace.waits || snd.shedding.paced
		if at := snd.dueAt(now); !at.IsZero() && (serve.IsZero() || at.Before(serve)) {
			serve = at
		}
		s.checkBy(snd.reports.at.Add(reportInterval))
		s.steady = s.steady && snd.steady()
	}
	if !serve.IsZero() {
		s.wakeAt(serve)
	}
	if a := s.adaptation; a != nil {
		s.planAdaptation(now, a)
	}
	if s.config.Trunk.probes(s) {
		s.wakeAt(now.Add(padEvery))
	}
}

// planAdaptation has the policy asked in time, and padding sent.
func (s *Set) planAdaptation(now time.Time, a *adaptation) {
	switch {
	case a.probes():
		s.wakeAt(now.Add(padEvery))
	case a.sent.Mode <= allot.Keyframes: // perhaps nothing else comes
		s.wakeAt(a.due)
	default:
		s.checkBy(a.due)
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
