package cdn

import (
	"time"

	"github.com/pion/rtp"

	"github.com/deltacdn/delta/internal/codec"
	"github.com/deltacdn/delta/internal/seqnum"
)

// mayTake reports whether the input may become the layer's active one with
// this packet. What was sent already is not shown again: the input begins with what
// is newer.
func (li *LayerInput) mayTake(now time.Time, mapped, ts uint64, info codec.Info) bool {
	l, s := li.layer, li.layer.track.stream
	if !s.leads(li.input) {
		return false
	}
	if !l.out.started || li.follows {
		return true
	}
	if l.track.info.Kind == Video {
		if li.continued = l.active == nil && info.FrameStart && li.continues(mapped, ts); li.continued {
			return true
		}
		return info.Keyframe && !li.isBehind(now, ts)
	}
	// Sound follows the picture, unless nothing is heard meanwhile.
	ready := l.active == nil || !li.input.video.Load() || s.current() == li.input
	return ready && !li.isBehind(now, ts)
}

// wait notes what an input brings that cannot take the layer yet.
func (li *LayerInput) wait(now time.Time, mapped, ts uint64, p *rtp.Packet, ext []Ext) {
	li.ahead = li.ahead || li.leadsBy(now, ts) > aheadBy
	li.matches(mapped, ts, p.Payload, ext)
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

// isBehind reports whether what has timestamp ts was sent already.
func (li *LayerInput) isBehind(now time.Time, ts uint64) bool {
	l := li.layer
	as, shared := l.sharedTimestamp(now, li, ts, mostBehind)
	if !shared && li.awaitsClock(now) {
		if l.track.info.Kind == Video {
			li.asking.keyframe(now) // this one answered the last request, and is not shown
		}
		return true // it may be
	}
	behind := shared && int64(as-l.out.ts) <= 0 && now.Sub(li.first) < behindFor
	if ticks := float64(l.out.ts - as); behind && l.active != nil && ticks < alongside.Seconds()*float64(l.track.info.Codec.ClockRate) {
		return false
	}
	if behind && l.track.info.Kind == Video {
		li.asking.keyframe(now) // the keyframe that is behind has answered the last request
	}
	return behind
}

// clockWithin is how soon after its first packet a node tells of a layer's clock.
const clockWithin = 300 * time.Millisecond

// awaitsClock reports whether it is not known yet how what the input brings goes with
// what the layer had, and soon will be.
func (li *LayerInput) awaitsClock(now time.Time) bool {
	relayed := len(li.input.config.Load().Path) > 0
	return relayed && li.layer.active == nil && li.isSibling() && !li.track.Reported() && now.Sub(li.first) < clockWithin
}

// A sibling is the layer's newest frame, as an input has it that waits.
type sibling struct {
	found   bool
	last    uint64 // mapped number of its last packet
	picture codec.Picture
	frame   uint16
}

// matches notes where the layer's newest frame is in what the input brings.
func (li *LayerInput) matches(mapped, ts uint64, payload []byte, ext []Ext) {
	l, m := li.layer, &li.match
	if !l.out.started || l.track.info.Kind != Video || !li.isSibling() || uint32(ts+l.out.shift) != uint32(l.out.ts) {
		return
	}
	if !m.found || mapped > m.last {
		m.last = mapped
	}
	m.found = true
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

// continues reports whether a frame that begins at mapped is the one that follows
// the layer's newest: the same encoder's, that came another way. Then no keyframe is
// needed.
func (li *LayerInput) continues(mapped, ts uint64) bool {
	l := li.layer
	return li.match.found && mapped == li.match.last+1 && li.isSibling() &&
		int32(uint32(ts+l.out.shift)-uint32(l.out.ts)) > 0 && l.isWhole()
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
func (li *LayerInput) take(now time.Time, mapped, ts uint64, payload []byte, ext []Ext) {
	l := li.layer
	li.shift, li.numbers.resync.due = shift{from: mapped}, false
	if l.out.started {
		li.shift.seq = l.out.seq + 1 - mapped
		as, shared := l.sharedTimestamp(now, li, ts, mostBehind)
		if !shared || int64(as-l.out.ts) <= 0 {
			as = l.liveTimestamp(now)
		}
		li.shift.ts = as - ts
		if li.continued {
			li.alignWithMatch()
		} else {
			li.alignPictures(payload, ext)
		}
		l.stats.splices++
		li.continueClock(now)
	} else {
		li.shift.from = 0 // what the first packet overtook is welcome
	}
	l.active, li.follows = li, false
	if li.continued {
		li.sets = parameterSets{} // they are known
	} else {
		l.parameters.Store(nil) // another encoder has its own
	}
	li.publishClock(now)
	l.track.stream.took(li.input)
}

// begin asks for a keyframe if a layer that nobody could be asked for does not
// begin with one: its first packets were lost, or its sender began earlier.
func (li *LayerInput) begin(now time.Time, info codec.Info) {
	l := li.layer
	looked := l.track.info.Kind == Video && l.inspect != nil && !li.continued
	if !info.Keyframe && (l.wanted || looked) {
		li.asking.keyframe(now)
	}
	l.wanted, li.begun = false, true
}

// alignPictures has picture identifiers continue those that were sent last.
func (li *LayerInput) alignPictures(payload []byte, ext []Ext) {
	l := li.layer
	li.shift.moved = true
	if l.picture != nil {
		if next, ok := l.picture.Read(payload); ok {
			li.shift.picture = codec.Between(l.out.picture, next)
		}
	}
	if d, ok := l.descriptor(ext); ok {
		li.shift.frame = l.out.frame + 1 - d.FrameNumber
	}
}

// alignWithMatch has the picture identifiers of the newest frame, as the input has
// it, become those with which it was sent.
func (li *LayerInput) alignWithMatch() {
	out, m := &li.layer.out, &li.match
	li.shift.moved = true
	li.shift.frame = out.frame - m.frame
	if li.layer.picture == nil {
		return
	}
	by := &li.shift.picture
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
// input has at ts, if that is known. Inputs of one publication may share its
// timestamps, if they came through nodes, or its capture clock.
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
	if same := seqnum.NearTime(next, uint32(ts+l.out.shift)); shared(same) {
		return same, true
	}
	old, known := l.Clock()
	c, ok := li.clockAt(now)
	if !known || !ok || old.Estimated != c.Estimated || old.Estimated && !li.sharesOrigin() {
		return 0, false
	}
	ticks := int64(c.now().Time(ts).Sub(old.NTP).Seconds() * rate)
	aligned := old.RTP + uint64(ticks)
	return aligned, shared(aligned)
}

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
