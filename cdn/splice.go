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

// writeLocked follows a packet from its input's numbers into the ring. It
// reports whether the ring has grown.
func (li *LayerInput) writeLocked(now time.Time, p *rtp.Packet, ext []Ext) bool {
	if li.gone {
		return false
	}
	switch step, jump := li.numbers.line.Step(now, p.SequenceNumber, p.Timestamp); step {
	case seqnum.Suspect:
		li.numbers.held.keep(now, p, ext)
		return false
	case seqnum.Stale:
		li.layer.stats.duplicates++
		return false
	case seqnum.Jumps:
		return li.jumped(now, p, ext, jump)
	case seqnum.Follows:
	}
	return li.number(now, p, ext)
}

// number gives the packet its place in the layer, if it has one.
func (li *LayerInput) number(now time.Time, p *rtp.Packet, ext []Ext) bool {
	l := li.layer
	seq, ts := li.numbers.line.Extend(p.SequenceNumber, p.Timestamp)
	if !li.nack.Received(now, seq) {
		l.stats.duplicates++
		return false
	}
	if !li.heardWithin(now, unheardAfter) {
		li.asking.resume()
	}
	li.heard = now
	if li.numbers.received == 0 {
		li.numbers.first = seq
	}
	if li.numbers.begins {
		li.numbers.resync.from = seq
	}
	li.numbers.received++
	if len(p.Payload) == 0 && li.numbers.gaps.Remove(seq) {
		l.stats.padding++
		return false
	}
	mapped, ok := li.numbers.gaps.Map(seq)
	if !ok {
		return false
	}
	info := li.classify(now, ts, p.Payload, ext)
	switch {
	case l.active != li:
		if !li.mayTake(now, mapped, ts, info) {
			li.keepSets(ts, p.Payload, info)
			li.wait(now, mapped, ts, p, ext)
			return false
		}
		li.take(now, mapped, ts, p.Payload, ext)
		li.storeSets(now, ts, info)
		li.begun = false
	case li.numbers.resync.due:
		if seq < li.numbers.resync.from {
			return false
		}
		if !li.mayResync(now, info.Keyframe, info.FrameStart) {
			li.keepSets(ts, p.Payload, info)
			return false
		}
		li.goOn(now, mapped, ts, p.Payload, ext, info.Keyframe)
		li.storeSets(now, ts, info)
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
		li.first = now
	}
	if li.numbers.begins {
		li.numbers.begins, li.numbers.newest = false, ts-1
	}
	newer := int64(ts-li.numbers.newest) > 0
	if newer {
		li.numbers.newest = ts
		li.observe(now, ts)
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
	case li.facts.Opaque || li.facts.Keyframes: // another node knows
		return li.facts.Opaque
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
	from := li.input.config.Load()
	l.out.publication, l.out.shift, l.out.origin = from.Publication, li.shift.ts, ""
	if len(from.Path) > 0 {
		l.out.origin = from.Path[0]
	}
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
