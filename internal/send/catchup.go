package send

import (
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/send/timeline"
)

// A receiver that begins with an old keyframe is sent all that followed, faster than live.
// The timestamps that a viewer is sent advance more slowly meanwhile: to the viewer, each
// packet looks live when it comes, so that no delay remains. A node is sent the publisher's
// timestamps: it has to know how old its media are.
//
// A packet that is not due yet stays in the ring, and the cursor waits: see nextPacket.

const (
	// nodeSpeed is how many times faster than live a node is sent media. It has the
	// bandwidth, and those behind it want to catch up, too: they must not overtake it.
	nodeSpeed = 2 * timeline.Fastest
	// leastSpeed is the least with which a viewer catches up.
	leastSpeed = 5 * timeline.Live / 4
	// ahead is how far ahead of its time a packet is that belongs to a burst of a
	// publisher, or node, that catches up itself. It does so within observedFor.
	ahead       = 100 * time.Millisecond
	observedFor = time.Second
	// longGap is the gap in the source's timestamps from which the publisher has paused:
	// there is nothing to catch up with in between.
	longGap = 5 * time.Second
	// shortGap is the gap from which the publisher has paused if the packet behind it comes
	// ahead of its time. A viewer that joined during the pause was shown the packet ahead of
	// the gap as if it had been live.
	shortGap = 250 * time.Millisecond
	// worthSkip is how far ahead a keyframe has to be for all in between to be skipped.
	worthSkip = fresh
)

// catchUp is how far a receiver has come that is starting.
type catchUp struct {
	at     time.Time // when the mode began
	from   uint64    // source timestamp that was sent then
	newest uint64    // newest source timestamp that was sent
	// target is the source timestamp with which the sent ones go with the publisher's
	// clock, while settling.
	target uint64
	// early is how far ahead of their time the last packets of what it caught up with
	// were sent.
	early uint32 // in ticks
	speed timeline.Speed
}

// takes returns how long it takes to send so much media.
func (s *Sender) takes(media time.Duration) time.Duration {
	return media * time.Duration(timeline.Live) / time.Duration(s.catchUp.speed)
}

// liveClock says with which timestamp media captured now is sent. The zero liveClock
// says nothing: then what was sent last was live.
type liveClock struct {
	at time.Time
	as uint64 // timestamp of media captured at at
	// isGuess: the offset to the publisher's clock is not known yet.
	isGuess bool
}

// accelerate begins to send faster than live from a source timestamp on, which has been
// sent.
func (s *Sender) accelerate(now time.Time, from uint64) {
	c := &s.catchUp
	c.at, c.from, c.newest = now, from, from
	s.catchUp.speed = s.chooseSpeed(now)
	if s.set.config.Node {
		return
	}
	s.timeline.Accelerate(from, s.catchUp.speed)
	s.clock = liveClock{at: now, as: s.timeline.At(from), isGuess: true}
}

// chooseSpeed returns how fast the receiver catches up. A viewer's path has to carry that: what
// waits for the pacer would not be what it looks like, live.
func (s *Sender) chooseSpeed(now time.Time) timeline.Speed {
	switch own := s.feed.layer.Bitrate(); {
	case s.set.config.Node:
		return nodeSpeed
	case s.set.pace.perByte == 0, s.set.room != nil, own == 0:
		return timeline.Fastest
	default:
		others := 0.0
		for _, snd := range s.set.senders {
			if snd != s && snd.mode != idle {
				others += snd.feed.layer.Bitrate()
			}
		}
		times := (s.set.paceRate(now)*pacedShare - others) / own
		return max(leastSpeed, timeline.Speed(min(float64(timeline.Fastest), max(0, times*float64(timeline.Live)))))
	}
}

// pacedShare is how much of the rate at which bursts leave is planned with: some of it goes
// to headers.
const pacedShare = 0.9

// rebase goes on at packet p, behind a gap, as if it were live.
func (s *Sender) rebase(now time.Time, p *cdn.Packet) {
	as := max(s.liveTimestamp(now)-uint64(s.catchUp.early), s.feed.newestTS+1)
	s.timeline.Rebase(p.Timestamp, as)
	s.reports.stale = true
	s.enter(observing, onGap)
	s.catchUp = catchUp{at: now, from: p.Timestamp, newest: p.Timestamp}
}

// chooseMode decides how to go on from keyframe p, which is begun with at a place. If that is
// ahead of the publisher's clock, what follows is sent faster until it is not. If that is
// not known, a burst will show it.
func (s *Sender) chooseMode(now time.Time, p *cdn.Packet, at place) {
	s.catchUp = catchUp{at: now, from: p.Timestamp, newest: p.Timestamp}
	if s.set.config.Node {
		s.enter(live, onKeyframe)
		return
	}
	if !at.known {
		s.enter(observing, onKeyframe)
		return
	}
	s.catchUp.speed = s.chooseSpeed(now)
	target := s.timeline.Converge(at.offset, s.catchUp.speed)
	if s.duration(target-p.Timestamp) <= ahead {
		s.enter(live, onKeyframe)
		return
	}
	s.enter(settling, onKeyframe)
	s.catchUp.target = target
	s.clock = liveClock{at: now, as: at.as}
}

// due returns when p, which is in the ring, is to be sent.
func (s *Sender) due(p *cdn.Packet) time.Time {
	c := &s.catchUp
	if !s.mode.isAhead() || s.mode == settling && int64(p.Timestamp-c.target) > 0 || s.snapshot.isFirst() {
		return p.Arrival
	}
	return c.at.Add(s.takes(s.duration(p.Timestamp - c.from)))
}

// liveTimestamp returns the timestamp with which media captured now is sent.
func (s *Sender) liveTimestamp(now time.Time) uint64 {
	if c := &s.clock; !c.at.IsZero() {
		return c.as + s.ticks(now.Sub(c.at))
	}
	return s.feed.newestTS + s.ticks(now.Sub(s.feed.newestAt))
}

// duration returns how long the track's clock takes for so many ticks, which may be
// negative, modulo 2^64.
func (s *Sender) duration(ticks uint64) time.Duration {
	return time.Duration(float64(int64(ticks)) / float64(s.line.Track.Info().Codec.ClockRate) * float64(time.Second))
}

// ticks returns how many ticks the track's clock makes in a time.
func (s *Sender) ticks(d time.Duration) uint64 {
	return uint64(d.Seconds() * float64(s.line.Track.Info().Codec.ClockRate))
}

// nextPacket returns the next packet that is due and may leave, or nil.
func (s *Sender) nextPacket(now time.Time) *cdn.Packet {
	if s.snapshot.next > 0 || s.snapshot.isFirst() {
		return nil // that comes first
	}
	before := s.feed.cursor
	p := s.feed.cursor.Next()
	if !s.mode.isStarting() {
		return s.unlessPaced(now, p, before)
	}
	for p != nil && s.snapshot.has(p) {
		before = s.feed.cursor
		p = s.feed.cursor.Next()
	}
	if p == nil {
		s.ranDry(now)
		return nil
	}
	if s.mode == observing {
		s.watchForBurst(now, p)
	} else {
		s.watchForGap(now, p)
	}
	if s.mode.isAhead() && s.due(p).After(now) && isLive(now, s.feed.layer) {
		s.feed.cursor = before
		return nil
	}
	if p = s.unlessPaced(now, p, before); p == nil {
		return nil
	}
	if c := &s.catchUp; int64(p.Timestamp-c.newest) > 0 {
		c.newest = p.Timestamp
	}
	return p
}

// inFrame reports whether the next packet continues a frame that was begun.
func (s *Sender) inFrame() bool {
	peek := s.feed.cursor
	p := peek.Next()
	return s.snapshot.next > 0 || p != nil && p.Timestamp == s.catchUp.newest && !p.FrameStart
}

// unlessPaced returns p. If that has to wait for the pacer, it goes back to the cursor and
// returns nil.
func (s *Sender) unlessPaced(now time.Time, p *cdn.Packet, before cdn.Cursor) *cdn.Packet {
	if p == nil || s.mode.awaitsKeyframe() && !p.Keyframe || s.mayLeave(now) {
		return p
	}
	s.shedding.paced, s.feed.cursor = true, before
	return nil
}

// watchForBurst looks at the next packet while observing. One that comes ahead of its
// time, though the publisher has not paused, shows that the source catches up itself.
func (s *Sender) watchForBurst(now time.Time, p *cdn.Packet) {
	c := &s.catchUp
	gap := s.duration(p.Timestamp - c.newest)
	early := s.duration(p.Timestamp-c.from) > now.Sub(c.at)+ahead
	switch {
	case early && gap > shortGap:
		s.rebase(now, p)
	case early:
		s.enter(catchingUp, onBurst)
		s.accelerate(now, c.newest)
	case gap > longGap:
		s.enter(live, onGap)
	}
}

// watchForGap looks at the next packet while what is sent is older than live.
func (s *Sender) watchForGap(now time.Time, p *cdn.Packet) {
	gap := s.duration(p.Timestamp - s.catchUp.newest)
	justCame := now.Sub(p.Arrival) < ahead
	switch {
	case justCame && gap > shortGap && !s.set.config.Node:
		s.rebase(now, p)
	case p.Keyframe && gap > worthSkip:
		s.awaitKeyframe(onSkip) // p itself
	case gap <= longGap:
	case s.mode == settling, s.set.config.Node:
		s.enter(live, onGap)
	default:
		s.observe(now, onGap)
		c := &s.catchUp
		c.from, c.newest = p.Timestamp, p.Timestamp
	}
}

// ranDry goes on at the layer's own pace, when nothing is left to be sent, once the
// receiver is where it should be.
func (s *Sender) ranDry(now time.Time) {
	c := &s.catchUp
	switch {
	case s.mode == catchingUp && s.set.config.Node,
		s.mode == settling && s.takes(s.duration(c.target-c.from)) <= now.Sub(c.at),
		s.mode == observing && now.Sub(c.at) > observedFor:
		s.enter(live, onEnd)
	case s.mode == catchingUp:
		s.observe(now, onEnd)
	}
}

// observe ends catching up. If then too much comes at once, the source catches up
// itself.
func (s *Sender) observe(now time.Time, on event) {
	c := &s.catchUp
	c.early = uint32(s.ticks(max(0, s.takes(s.duration(c.newest-c.from))-now.Sub(c.at))))
	c.at, c.from = now, c.newest
	s.timeline.Resume(c.newest)
	s.reports.stale = true
	s.enter(observing, on)
}

// skipToKeyframe skips what is left to catch up with if there is a newer keyframe. A frame
// that was begun is sent to its end: some of it may wait for the pacer.
func (s *Sender) skipToKeyframe() {
	if !s.mode.isAhead() || s.inFrame() {
		return
	}
	newer := s.feed.layer.Newer(s.feed.cursor)
	if newer == s.feed.cursor {
		return
	}
	peek := newer
	if p := peek.Next(); p != nil && s.duration(p.Timestamp-s.catchUp.newest) > worthSkip {
		s.feed.cursor, s.feed.lost = newer, newer.Lost()
		s.awaitKeyframe(onSkip)
	}
}
