package cdn

import (
	"math"
	"time"

	"github.com/pion/rtp"

	"github.com/deltacdn/delta/internal/codec"
	"github.com/deltacdn/delta/internal/seqnum"
)

// opaqueAfter is how long an input may go without a recognised keyframe before
// it is taken for one that cannot be looked into (an SFrame payload, an unknown
// codec): from then on any picture counts as a place to begin.
const opaqueAfter = 3 * time.Second

// longAway is how long a layer has not come, since nobody wanted it, for its
// timestamps to be extended by the time that has passed.
const longAway = time.Hour

// writeLocked follows a packet from its input's numbers into the ring. It
// reports whether the ring has grown.
func (li *LayerInput) writeLocked(now time.Time, p *rtp.Packet, ext []Ext) bool {
	if li.gone {
		return false
	}
	l := li.layer
	if away := now.Sub(l.out.arrival); l.active == li && away > longAway {
		li.ts.Pass(uint64(away.Seconds() * float64(l.track.info.Codec.ClockRate)))
	}
	seq, ts := li.seq.Unwrap(p.SequenceNumber), li.ts.Unwrap(p.Timestamp)
	if !li.nack.Received(now, seq) {
		l.stats.duplicates++
		return false
	}
	if !li.heardWithin(now, unheardAfter) {
		li.asking.resume()
	}
	li.heard = now
	if li.received == 0 {
		li.firstSeq = seq
	}
	li.received++
	if len(p.Payload) == 0 && li.gaps.Remove(seq) {
		l.stats.padding++
		return false
	}
	mapped, ok := li.gaps.Map(seq)
	if !ok {
		return false
	}
	info := li.classify(now, ts, p.Payload, ext)
	if l.active != li {
		if !li.mayTake(info) {
			li.keepSets(ts, p.Payload, info)
			li.ahead = li.ahead || li.leadsBy(now, ts) > aheadBy
			return false
		}
		li.take(now, mapped, ts, p.Payload, ext)
		li.storeSets(now, ts, info)
		li.begun = false
	}
	if !li.begun && (info.Keyframe || info.Parameters == 0) { // what follows the sets will tell
		li.begin(now, info)
	}
	if mapped < li.shift.from {
		return false
	}
	li.store(now, mapped+li.shift.seq, li.shift.at(ts), p, ext, info)
	return true
}

// classify says what the packet is to those who want to begin with it.
func (li *LayerInput) classify(now time.Time, ts uint64, payload []byte, ext []Ext) codec.Info {
	l := li.layer
	if li.first.IsZero() {
		li.first, li.lastTS = now, ts-1
		if li.early != nil {
			li.clock, li.early = li.early.clock(ts, l.track.info.Codec.ClockRate), nil
		}
	}
	newer := int64(ts-li.lastTS) > 0
	if newer {
		li.lastTS = ts
	}
	if l.track.info.Kind == Audio {
		return codec.Info{Keyframe: true, FrameStart: true}
	}
	if newer {
		li.since++
	}
	info := l.look(payload, ext)
	info.FrameStart = info.FrameStart || newer
	switch {
	case info.Keyframe && (!info.Unproved || !li.keyed):
		li.keyed = li.keyed || !info.Unproved
		li.claimed, li.since = now, 0
		// A frame is one place to begin, though several of its packets say so.
		info.Keyframe = newer || !l.hasKeyframeAt(li.shift.at(ts))
	case li.opaque(now):
		info.Keyframe, info.Unproved = newer, true
	default:
		info.Keyframe = false
	}
	switch {
	case !info.Keyframe:
		return info
	case info.Unproved:
		li.asking.arbiter.Unseen()
	default:
		li.asking.arbiter.Keyframe(now)
	}
	l.stats.keyframes++
	return info
}

// After a keyframe that is not proved, an input counts as one whose keyframes can
// be seen for this long, and for as many frames.
const (
	claimedFor    = 12 * time.Second
	claimedFrames = 100
)

// opaque reports whether any frame of the input is a place to begin, since its
// keyframes cannot be told from other frames.
func (li *LayerInput) opaque(now time.Time) bool {
	switch {
	case li.keyed:
		return false
	case li.layer.inspect == nil:
		return true
	case !li.claimed.IsZero() && (now.Sub(li.claimed) <= claimedFor || li.since <= claimedFrames):
		return false
	}
	return now.Sub(li.first) > opaqueAfter
}

// look asks the dependency descriptor, where there is one that can be read, and
// else the payload. Parameter sets are in the payload.
func (l *Layer) look(payload []byte, ext []Ext) (info codec.Info) {
	if l.inspect != nil {
		info = l.inspect(payload)
	}
	if d, ok := l.descriptor(ext); ok && !d.Malformed {
		info.FrameStart = d.FrameStart
		info.Keyframe, info.Unproved = d.Structure && d.FrameStart && d.Independent, false
	}
	return info
}

func (l *Layer) descriptor(ext []Ext) (codec.Descriptor, bool) {
	if l.track.dd != 0 {
		for _, e := range ext {
			if e.ID == l.track.dd {
				return codec.ReadDescriptor(e.Data)
			}
		}
	}
	return codec.Descriptor{}, false
}

func (l *Layer) hasKeyframeAt(ts uint64) bool {
	k := l.ring.Keyframe()
	return k != nil && k.Timestamp == ts
}

// mayTake reports whether the input may become the layer's active one with
// this packet.
func (li *LayerInput) mayTake(info codec.Info) bool {
	l, s := li.layer, li.layer.track.stream
	if !s.leads(li.input) {
		return false
	}
	if !l.out.started {
		return true
	}
	if l.track.info.Kind == Video {
		return info.Keyframe
	}
	// Sound follows the picture, unless nothing is heard meanwhile.
	return l.active == nil || !li.input.video.Load() || s.current() == li.input
}

// aheadBy is how much newer what an input brings must be to show that it has more:
// the last packets of one that was lost may only have been lost with it.
const aheadBy = 100 * time.Millisecond

// mostBehind is how far behind, at most, what is shared may be that an input brings.
const mostBehind = 2 * time.Minute

// leadsBy returns by how much ts is newer than what the layer has.
func (li *LayerInput) leadsBy(now time.Time, ts uint64) time.Duration {
	l := li.layer
	if !l.out.started {
		return time.Hour
	}
	ticks := int64(l.nextTimestamp(now, li, ts, mostBehind) - l.out.ts)
	return time.Duration(float64(ticks) / float64(l.track.info.Codec.ClockRate) * float64(time.Second))
}

// take makes li the active input, with numbers that continue the last ones.
func (li *LayerInput) take(now time.Time, mapped, ts uint64, payload []byte, ext []Ext) {
	l := li.layer
	li.shift = shift{from: mapped}
	if l.out.started {
		li.shift.seq = l.out.seq + 1 - mapped
		li.shift.align(ts, l.nextTimestamp(now, li, ts, mostSqueezed), l.out.ts, l.track.info.Codec.ClockRate)
		li.shift.moved = true
		if l.picture != nil {
			if next, ok := l.picture.Read(payload); ok {
				li.shift.picture = codec.Between(l.out.picture, next)
			}
		}
		if d, ok := l.descriptor(ext); ok {
			li.shift.frame = l.out.frame + 1 - d.FrameNumber
		}
		l.stats.splices++
	} else {
		li.shift.from = 0 // what the first packet overtook is welcome
	}
	l.active = li
	l.parameters.Store(nil) // another encoder has its own
	l.startClock(now, li, ts)
	l.track.stream.took(li.input)
}

// begin asks for a keyframe if a layer that nobody could be asked for does not
// begin with one: its first packets were lost, or its sender began earlier.
func (li *LayerInput) begin(now time.Time, info codec.Info) {
	l := li.layer
	looked := l.track.info.Kind == Video && l.inspect != nil
	if !info.Keyframe && (l.wanted || looked) {
		li.asking.keyframe(now)
	}
	l.wanted, li.begun = false, true
}

// nextTimestamp returns the timestamp with which the layer continues. Inputs of
// one publication may share its timestamps, if they came through nodes, or its
// capture clock; else the time that has passed has to do.
func (l *Layer) nextTimestamp(now time.Time, li *LayerInput, ts uint64, before time.Duration) uint64 {
	rate := float64(l.track.info.Codec.ClockRate)
	passed := max(now.Sub(l.out.arrival), time.Millisecond)
	next := l.out.ts + uint64(passed.Seconds()*rate)
	if l.out.publication == "" || l.out.publication != li.input.config.Load().Publication {
		return next
	}
	// What disagrees by a second with the time that has passed is not shared; but
	// it may be from before, so much at most.
	shared := func(candidate uint64) bool {
		apart := int64(candidate - next)
		return apart < int64(rate) && apart > -int64(before.Seconds()*rate)
	}
	if same := seqnum.NearTime(next, uint32(ts+l.out.shift)); shared(same) {
		return same
	}
	if old := l.clock.Load(); old != nil && !old.Estimated && li.clock != nil {
		ticks := int64(li.clock.Time(ts).Sub(old.NTP).Seconds() * rate)
		if aligned := old.RTP + uint64(ticks); shared(aligned) {
			return aligned
		}
	}
	return next
}

func (l *Layer) startClock(now time.Time, li *LayerInput, ts uint64) {
	if li.clock != nil {
		l.setClock(*li.clock, li.shift.ts)
		return
	}
	l.setClock(Clock{NTP: now, RTP: ts, Received: now, Rate: l.track.info.Codec.ClockRate, Estimated: true}, li.shift.ts)
}

// store appends the packet to the ring under its final numbers.
func (li *LayerInput) store(now time.Time, seq, ts uint64, p *rtp.Packet, ext []Ext, info codec.Info) {
	l := li.layer
	newest := !l.out.started || seq > l.out.seq
	l.renumber(p.Payload, ext, li.shift, newest)
	var block [256]byte
	stored := l.ring.Append(Packet{
		Seq: seq, Timestamp: ts, Arrival: now, Marker: p.Marker,
		Keyframe: info.Keyframe, FrameStart: info.FrameStart,
		Extensions: appendExt(block[:0], ext), Payload: p.Payload,
	})
	if info.Parameters != 0 {
		l.keepParameters(stored, info)
	}
	if newest {
		l.out.seq = seq
	}
	if !l.out.started || int64(ts-l.out.ts) > 0 {
		l.out.ts, l.out.arrival = ts, now
	}
	l.out.started = true
	l.out.publication, l.out.shift = li.input.config.Load().Publication, li.shift.ts
	if bitrate, ok := l.stats.add(now, len(p.Payload)); ok {
		l.bitrate.Store(math.Float64bits(bitrate))
	}
}

// renumber rewrites the picture identifiers in place, so that they continue
// those before the splice, and notes those of the newest packet.
func (l *Layer) renumber(payload []byte, ext []Ext, by shift, newest bool) {
	if l.picture != nil {
		if by.moved {
			l.picture.Shift(payload, by.picture)
		}
		if p, ok := l.picture.Read(payload); ok && newest {
			l.out.picture = p
		}
	}
	if l.track.dd == 0 {
		return
	}
	for _, e := range ext {
		if e.ID != l.track.dd {
			continue
		}
		if by.moved {
			codec.ShiftFrameNumber(e.Data, by.frame)
		}
		if d, ok := codec.ReadDescriptor(e.Data); ok && newest {
			l.out.frame = d.FrameNumber
		}
	}
}

// appendExt packs ext as a [Packet] holds it. What does not fit into the
// 255 bytes that any receiver can be sent is left out.
func appendExt(block []byte, ext []Ext) []byte {
	for _, e := range ext {
		if len(e.Data) > 255 || len(block)+2+len(e.Data) > cap(block) {
			continue
		}
		block = append(block, e.ID, byte(len(e.Data)))
		block = append(block, e.Data...)
	}
	return block
}
