package cdn

import (
	"math"
	"time"

	"github.com/deltacdn/delta/internal/rtp/codec"
	"github.com/deltacdn/delta/internal/rtp/seqnum"
)

// offer returns what a splice decides by. What the packets of the input that feeds the
// layer need of it is next to nothing, as long as there is no splice.
func (li *LayerInput) offer(in *incoming) (o offer) {
	l := li.layer
	o.kind, o.keyframe, o.frameStart = l.track.info.Kind, in.info.Keyframe, in.info.FrameStart
	if o.active = l.active == li; o.active {
		r := &li.numbers.resync
		o.stopped = li.isStopped(in)
		o.resync, o.gap, o.old = r.due, r.jump.Gap, in.seq < r.from
		o.waited = r.due && !in.at.Before(r.until)
		return o
	}
	s := l.track.stream
	o.leads, o.started, o.vacant = s.leads(li.input), l.out.started, l.active == nil
	if !o.leads || !o.started || li.splice.follows {
		return o
	}
	o.joined = o.kind == Audio && (!li.input.video.Load() || s.activeInput() == li.input)
	o.next = o.vacant && o.frameStart && li.isNext(in)
	o.late = o.keyframe && li.isLate(in)
	return o
}

// wait notes what an input brings that cannot take the layer yet.
func (li *LayerInput) wait(in *incoming) {
	li.splice.ahead = li.splice.ahead || li.leadsBy(in.at, in.ts) > aheadBy
	li.noteSibling(in)
}

// aheadBy is how much newer what an input brings must be to show that it has more:
// the last packets of one that was lost may only have been lost with it.
const aheadBy = 100 * time.Millisecond

const (
	// mostBehind is how much older than the present an input's media may be and still
	// count as sharing the layer's timestamps.
	mostBehind = 2 * time.Minute
	// behindFor is how long an input may begin with what is behind: then it has
	// caught up, and the clocks disagree.
	behindFor = 3 * time.Second
	// alongside is by how much an input may be behind one that still comes: their
	// paths are not equally long.
	alongside = 250 * time.Millisecond
)

// leadsBy returns by how much ts is newer than what the layer has.
func (li *LayerInput) leadsBy(now time.Time, ts uint64) time.Duration {
	l := li.layer
	if !l.out.started {
		return time.Hour
	}
	next, shared := l.sharedTimestamp(now, li, ts, mostBehind)
	if !shared {
		next = l.liveTimestamp(now)
	}
	ticks := int64(next - l.out.ts)
	return time.Duration(float64(ticks) / float64(l.track.info.Codec.ClockRate) * float64(time.Second))
}

// isLate reports whether what the packet shows was sent already, or may have been. What a
// publisher sends here itself is new, whatever its clock says.
func (li *LayerInput) isLate(in *incoming) bool {
	l := li.layer
	if !li.isRelayed() {
		return false
	}
	as, shared := l.sharedTimestamp(in.at, li, in.ts, mostBehind)
	if !shared {
		return li.awaitsClock(in.at)
	}
	if int64(as-l.out.ts) > 0 || in.at.Sub(li.first) >= behindFor {
		return false
	}
	beside := l.active != nil && float64(l.out.ts-as) < alongside.Seconds()*float64(l.track.info.Codec.ClockRate)
	return !beside
}

// clockWithin is how soon after its first packet a node tells of a layer's clock.
const clockWithin = 300 * time.Millisecond

// awaitsClock reports whether it is not known yet how what the input brings goes with
// what the layer had, and soon will be.
func (li *LayerInput) awaitsClock(now time.Time) bool {
	return li.isRelayed() && li.layer.active == nil && li.isSibling() && !li.clock.track.Reported() && now.Sub(li.first) < clockWithin
}

// A sibling is the layer's newest frame, as an input has it that waits.
type sibling struct {
	found   bool
	last    uint64 // mapped number of its last packet
	picture codec.Picture
	frame   uint16
}

// noteSibling notes where the layer's newest frame is in what the input brings.
func (li *LayerInput) noteSibling(in *incoming) {
	l, m := li.layer, &li.splice.match
	if !l.out.started || l.track.info.Kind != Video || !li.isSibling() || uint32(in.ts+l.out.shift) != uint32(l.out.ts) {
		return
	}
	if !m.found || in.mapped > m.last {
		m.last = in.mapped
	}
	m.found = true
	m.identify(l, in.packet.Payload, in.ext)
}

// identify notes by which identifiers the frame goes.
func (m *sibling) identify(l *Layer, payload []byte, ext []Ext) {
	if l.picture != nil {
		m.picture, _ = l.picture.Read(payload)
	}
	if d, ok := l.descriptor(ext); ok {
		m.frame = d.FrameNumber
	}
}

// isSibling reports whether the input brings the publication that the layer had.
func (li *LayerInput) isSibling() bool {
	p := li.layer.out.publication
	return p != "" && p == li.input.config.Load().Publication
}

// isNext reports whether the frame that begins with the packet is the one that follows
// the layer's newest: the same encoder's, which came another way. Then no keyframe is
// needed.
func (li *LayerInput) isNext(in *incoming) bool {
	l, m := li.layer, &li.splice.match
	return m.found && in.mapped == m.last+1 && li.isSibling() &&
		int32(uint32(in.ts+l.out.shift)-uint32(l.out.ts)) > 0 && l.isWhole()
}

// isWhole reports whether all of the newest frame has been stored.
func (l *Layer) isWhole() bool {
	p := l.ring.Lookup(l.out.seq)
	if p == nil || !p.Marker {
		return false
	}
	for p != nil && p.Timestamp == l.out.ts {
		if p.FrameStart {
			return true
		}
		p = l.ring.Lookup(p.Seq - 1)
	}
	return false
}

// take makes li the active input, with numbers that continue the last ones.
func (li *LayerInput) take(in *incoming) {
	l, sp := li.layer, &li.splice
	sp.shift, li.numbers.resync.due = shift{from: in.mapped}, false
	if l.out.started {
		sp.shift.seq = l.out.seq + 1 - in.mapped
		as, shared := l.sharedTimestamp(in.at, li, in.ts, mostBehind)
		if !shared || int64(as-l.out.ts) <= 0 {
			as = l.liveTimestamp(in.at)
		}
		sp.shift.ts = as - in.ts
		if sp.continues {
			li.alignWithMatch()
		} else {
			li.alignPictures(in)
		}
		l.stats.Splices++
		li.continueClock(in.at)
	} else {
		sp.shift.from = 0 // what the first packet overtook is welcome
	}
	l.active, sp.follows = li, false
	l.judgeHeldBackLocked()
	if sp.continues {
		sp.sets = parameterSets{} // they are known
	} else {
		l.parameters.Store(li.declared.parameters(in.at, l.stats.Splices)) // another encoder has its own
	}
	li.publishClock(in.at)
	l.track.stream.took(li.input, in.at)
}

// begin asks for a keyframe if a layer that nobody could be asked for does not
// begin with one: its first packets were lost, or its sender began earlier.
func (li *LayerInput) begin(in *incoming) {
	l := li.layer
	looked := l.track.info.Kind == Video && l.inspect != nil && !li.splice.continues
	if !in.info.Keyframe && (l.wanted || looked) {
		li.asking.keyframe(in.at)
	}
	l.wanted, li.splice.begun = false, true
}

// alignPictures has picture identifiers continue those that were sent last.
func (li *LayerInput) alignPictures(in *incoming) {
	l, by := li.layer, &li.splice.shift
	by.moved = true
	if l.picture != nil {
		if next, ok := l.picture.Read(in.packet.Payload); ok {
			by.picture = codec.Between(l.out.picture, next)
		}
	}
	if d, ok := l.descriptor(in.ext); ok {
		by.frame = l.out.frame + 1 - d.FrameNumber
	}
}

// alignWithMatch has the picture identifiers of the newest frame, as the input has
// it, become those with which it was sent.
func (li *LayerInput) alignWithMatch() {
	out, m := &li.layer.out, &li.splice.match
	li.splice.shift.moved = true
	li.splice.shift.frame = out.frame - m.frame
	if li.layer.picture == nil {
		return
	}
	by := &li.splice.shift.picture
	if out.picture.ID >= 0 && m.picture.ID >= 0 {
		by.ID = out.picture.ID - m.picture.ID
	}
	if out.picture.TL0 >= 0 && m.picture.TL0 >= 0 {
		by.TL0 = out.picture.TL0 - m.picture.TL0
	}
	if out.picture.KeyIdx >= 0 && m.picture.KeyIdx >= 0 {
		by.KeyIdx = out.picture.KeyIdx - m.picture.KeyIdx
	}
}

// sharedTimestamp returns the timestamp that the layer's receivers know for what an
// input has at ts, if that is known. Inputs of one publication may share its timestamps if
// they came through nodes, and may share its capture clock. Those of a session of its own
// may be near the layer's by chance alone: so are those of a publisher that comes here
// itself, and the clock tells of others.
func (l *Layer) sharedTimestamp(now time.Time, li *LayerInput, ts uint64, behind time.Duration) (as uint64, ok bool) {
	if !li.isSibling() {
		return 0, false
	}
	rate := float64(l.track.info.Codec.ClockRate)
	next := l.liveTimestamp(now)
	// What disagrees by a second with the time that has passed is not shared; but
	// it may be from earlier, by so much at most: earlier than now or, since the
	// publisher may have been silent for longer, than what came last.
	shared := func(candidate uint64) bool {
		if old := int64(l.out.ts - candidate); old >= 0 && old < int64(behind.Seconds()*rate) {
			return true
		}
		apart := int64(candidate - next)
		return apart < int64(rate) && apart > -int64(behind.Seconds()*rate)
	}
	aligned, known := l.alignedTimestamp(now, li, ts)
	same := seqnum.NearTime(next, uint32(ts+l.out.shift))
	known = known && shared(aligned)
	if li.isRelayed() && shared(same) && (!known || !li.isByChance(now, same, aligned)) {
		return same, true
	}
	return aligned, known
}

// byChance is by how much a timestamp may deviate from what the publisher's clock says of
// it and be the one that the layer's receivers know.
const byChance = time.Second

// isByChance reports whether the publisher's clock shows that the input's timestamp is only
// near those of the layer: each session of a publisher begins with any, and a redundant
// publisher has a session with each origin. The timestamps of a publisher that pauses may stand
// still meanwhile, so what it pauses for is no deviation.
func (li *LayerInput) isByChance(now time.Time, same, aligned uint64) bool {
	l := li.layer
	most := byChance
	if p := l.Newest(); p != nil {
		most += now.Sub(p.Arrival)
	}
	if c, _ := l.Clock(); c.Estimated || li.splice.match.found { // an estimate may have moved; a frame in common proves more
		return false
	}
	apart := float64(int64(same-aligned)) / float64(l.track.info.Codec.ClockRate)
	return math.Abs(apart) > most.Seconds()
}

// alignedTimestamp returns the layer's timestamp for what an input has at ts, by the
// publisher's clock, if both have that clock.
func (l *Layer) alignedTimestamp(now time.Time, li *LayerInput, ts uint64) (as uint64, ok bool) {
	old, known := l.Clock()
	c, ok := li.clockAt(now)
	if !known || !ok || old.Estimated != c.Estimated || old.Estimated && !li.sharesOrigin() {
		return 0, false
	}
	ticks := int64(c.now().Time(ts).Sub(old.NTP).Seconds() * float64(l.track.info.Codec.ClockRate))
	return old.RTP + uint64(ticks), true
}

// isRelayed reports whether the input comes from another node.
func (li *LayerInput) isRelayed() bool { return len(li.input.config.Load().Path) > 0 }

// sharesOrigin reports whether the input comes from the origin that the layer came
// from: then both have its estimate of the publisher's clock.
func (li *LayerInput) sharesOrigin() bool {
	path := li.input.config.Load().Path
	return len(path) > 0 && path[0] == li.layer.out.origin
}

// continueClock has the clock of an input whose publisher has sent no report yet go
// on as the layer's does.
func (li *LayerInput) continueClock(now time.Time) {
	if old, ok := li.layer.Clock(); ok {
		wall, _ := old.At(now)
		li.input.clock.begin(wall.Sub(now))
	}
}
