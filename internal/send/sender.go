package send

import (
	"slices"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/rtp/codec"
	"github.com/deltacdn/delta/internal/send/allot"
	"github.com/deltacdn/delta/internal/send/budget"
	"github.com/deltacdn/delta/internal/send/rewrite"
	"github.com/deltacdn/delta/internal/send/thin"
	"github.com/deltacdn/delta/internal/send/timeline"
)

// A Sender is one RTP stream to the receiver. Its set's mu guards what is not static.
// The fields that the fast path needs stand first: see [Set].
type Sender struct {
	feed feed
	// static
	set      *Set
	line     *Line
	rid      string
	pictures *codec.Pictures // nil: the codec has no picture IDs
	// descriptor is the track's id of the dependency descriptor. It is 0 if there is
	// none, or if layers are never switched.
	descriptor uint8
	video      bool
	known      uint16 // how many layers the track had at first

	mode     mode
	thinned  bool // filter is set
	stopped  stopped
	repairs  repairs
	wire     wire
	reports  reports
	numbers  rewrite.Rewriter[origin]
	timeline timeline.Timeline

	wait      wait
	snapshot  snapshot
	catchUp   catchUp
	clock     liveClock
	next      nextLayer
	pictureID pictureIDs
	shedding  shedding
	keyframes keyframeRequests
	filter    *thin.Filter // of the frames that are sent; nil: all are
}

// feed is where packets come from.
type feed struct {
	cursor   cdn.Cursor
	lost     uint64    // the cursor's count of lost packets, as seen last
	source   *source   // nil before the first packet
	newestAt time.Time // when the packet with the highest number was sent
	newestTS uint64    // the timestamp that it was sent with
	layer    *cdn.Layer
	release  func() // gives up the claim on layer
}

// A source is a layer from one switch to the next, and what is added to the picture
// IDs and dependency descriptors of its packets.
type source struct {
	layer      *cdn.Layer
	shift      codec.Picture
	shifted    bool // whether shift applies
	frameShift uint16
}

// An origin is where a span of sequence numbers comes from.
type origin struct {
	source  *source
	segment uint32 // of the timeline
}

func newSender(s *Set, l *Line, layer *cdn.Layer, rid string) *Sender {
	info := l.Track.Info()
	descriptor := uint8(slices.Index(info.Extensions, uriDescriptor) + 1)
	if rid != "" {
		descriptor = 0
	}
	return &Sender{
		set: s, line: l, rid: rid, video: info.Kind == cdn.Video, known: uint16(len(l.Track.Layers())),
		pictures: codec.PicturesFor(info.Codec.MimeType), descriptor: descriptor,
		feed:    feed{layer: layer, release: s.claim(layer)},
		repairs: repairs{budget: budget.New(repairBudget(s.config))},
	}
}

// steady reports whether the next packets are sent as the last ones were, and nothing
// else is to be done.
func (s *Sender) steady() bool {
	return s.mode == live && s.wire.out.To != nil && s.next.layer == nil &&
		s.reports.packets > 0 && !s.reports.stale && s.shedding.behind <= late && !s.shedding.paced
}

// fastPath sends what has come, in a steady state. It returns false where the sender
// has to advance instead.
func (s *Sender) fastPath(now time.Time) bool {
	c := s.feed.cursor
	p := c.Next()
	if p != nil && now.Sub(p.Arrival) > late {
		return false
	}
	for ; p != nil; p = c.Next() {
		if c.Lost() != s.feed.lost || !s.mayLeave(now) {
			return false
		}
		s.feed.cursor = c
		if s.thinned && !s.passes(now, p) {
			continue
		}
		s.send(now, p)
	}
	return true
}

// dueAt returns when the sender has something to do though no packet comes, or zero.
func (s *Sender) dueAt(now time.Time) time.Time {
	switch {
	case s.mode == idle || s.wire.out.To == nil:
		return time.Time{}
	case s.stopped.halted == noLayer && s.shedding.paced: // the next layer's keyframe is here
		return s.set.pace.dueAt()
	case s.stopped.halted != nothing: // the set wakes itself: see planAdaptation
		return time.Time{}
	case s.shedding.held:
		return now.Add(roomTick)
	case s.shedding.paced:
		return s.set.pace.dueAt()
	case s.mode.awaitsKeyframe() && !s.wait.asked:
		return s.wait.askAt
	case !s.mode.awaitsKeyframe() && !s.keyframes.budget.Due().IsZero():
		return s.keyframes.budget.Due()
	case s.mode == opening || s.mode.isStarting():
		return now.Add(tick)
	}
	return time.Time{}
}

// tick is how often a sender that starts is served where no packets come.
const tick = 50 * time.Millisecond

// advance does what is due, and sends what has come.
func (s *Sender) advance(now time.Time) {
	if s.wire.out.To == nil {
		return
	}
	waited := s.shedding.paced
	s.shedding.paced = false
	s.showSnapshot(now)
	s.chooseLayer(now)
	s.trySwitch(now)
	s.skipToKeyframe()
	s.shed(now, waited)
	s.ask(now)
	s.askOwed(now)
	for s.hasRoom() {
		p := s.nextPacket(now)
		if p == nil {
			break
		}
		s.checkLost(now)
		if s.mode.awaitsKeyframe() && !s.beginWith(now, p) || s.thinned && !s.passes(now, p) {
			continue
		}
		s.send(now, p)
	}
	s.dropFilter()
	if s.mode != live && !s.shedding.held {
		s.shedding.served = s.feed.layer.Live()
	}
	s.account(now)
}

// checkLost waits for a keyframe if the cursor was overtaken by the ring's end. Sound
// goes on.
func (s *Sender) checkLost(now time.Time) {
	lost := s.feed.cursor.Lost()
	if lost == s.feed.lost {
		return
	}
	s.feed.lost = lost
	if s.video {
		s.pause(now, time.Time{}, now)
	}
}

// beginWith begins with p if that is the keyframe that was waited for, and reports
// whether it is to be sent.
func (s *Sender) beginWith(now time.Time, p *cdn.Packet) bool {
	if !p.Keyframe || s.stopped.halted != nothing {
		return false
	}
	if p.Arrival.Before(s.wait.resume) {
		s.missed(now)
		return false
	}
	s.begin(now, s.feed.layer, p)
	return true
}

// begin begins to send layer l at its keyframe p, which the caller sends next. It sends
// what a decoder needs ahead of p.
func (s *Sender) begin(now time.Time, l *cdn.Layer, p *cdn.Packet) {
	next, at := &source{layer: l}, place{as: p.Timestamp}
	if s.feed.source != nil && !s.set.config.Node {
		at = s.place(now, l, p.Timestamp)
	}
	switch {
	case l != s.feed.layer:
		s.pictureID.switched(s, next, p)
		s.switched()
		s.endBridge()
		if tell := s.set.config.OnLayer; tell != nil {
			defer tell() // when s.feed has it
		}
	case s.feed.source != nil:
		*next = *s.feed.source
	}
	s.feed.layer, s.feed.source, s.stopped.halted = l, next, nothing
	if s.shedding.told { // the receiver is shown something again
		s.shedding.told = false
		a := s.set.adaptation
		s.set.note(Change{Layer: l.Name(), Mode: allot.Full, Restored: a == nil || a.restored(), Reason: allot.Backlog})
	}
	s.set.padding.kept = nil // there is something newer
	s.restartFilter(p)
	s.sendPrefix(now, p, at.as)
	s.startSpan(p, at.as)
	s.chooseMode(now, p, at)
}

// startSpan has the packets of the present source, from p on, get the next numbers, and
// timestamps by which p is sent as as. The receiver is told by a sender report.
func (s *Sender) startSpan(p *cdn.Packet, as uint64) {
	s.numbers.Start(origin{s.feed.source, s.timeline.Start(p.Timestamp, as)}, p.Seq)
	s.reports.stale = true
}

// sendPrefix sends the packets that belong ahead of keyframe p, with timestamp as.
func (s *Sender) sendPrefix(now time.Time, p *cdn.Packet, as uint64) {
	if !s.video {
		return
	}
	all := s.feed.layer.Prefix(p)
	for i, q := range all {
		if i == 0 || q.Seq != all[i-1].Seq+1 || q.Timestamp != all[i-1].Timestamp {
			s.startSpan(q, as)
		}
		s.send(now, q)
	}
}

// send gives p the receiver's numbers and writes it.
func (s *Sender) send(now time.Time, p *cdn.Packet) {
	before := s.numbers.Highest()
	seq, ok := s.numbers.Map(p.Seq)
	if !ok {
		return
	}
	ts := s.timeline.At(p.Timestamp)
	newest := seq > before
	switch {
	case !newest:
		s.reports.cameLate()
	case seq > before+1 && s.reports.packets > 0:
		s.reports.passedOver(seq - before - 1)
	}
	if s.wire.stamped {
		s.wire.stamp = s.nextStamp(now, len(p.Payload), s.flag())
	}
	s.fill(p, s.feed.source, seq, uint32(ts), false)
	payload := s.pictureID.apply(s, p, seq, newest)
	if s.wire.red != 0 {
		payload = s.redundant(p, payload)
	}
	if newest {
		s.feed.newestTS = ts
	}
	n, err := s.write(payload)
	if err != nil {
		return // the connection is going; the session hears of it
	}
	s.set.sentAt = now
	if newest {
		s.feed.newestAt = now
		if p.Keyframe && s.video {
			s.keyframes.budget.Keyframe(now)
		}
	}
	s.set.pace.sent(now, n, !s.video)
	s.repairs.unaccounted += n
	s.reports.sent(len(payload), n)
	if s.wire.stamped {
		s.transmitted(now, n, s.flag())
	}
	s.repairOwed(now, p, seq, uint32(ts))
}
