package cdn

import (
	"math"
	"time"

	"github.com/pion/rtp"

	"github.com/deltacdn/delta/cdn/internal/ring"
	"github.com/deltacdn/delta/internal/rtp/codec"
	"github.com/deltacdn/delta/internal/rtp/seqnum"
)

// An incoming packet is one of an input on its way to the ring.
type incoming struct {
	at     time.Time // arrival
	seq    uint64    // the sender's number, extended
	mapped uint64    // likewise, without the numbers of padding
	ts     uint64    // the sender's timestamp, extended
	packet *rtp.Packet
	ext    []Ext
	info   codec.Info
	place  codec.Temporal // among the temporal layers
}

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
		li.layer.stats.Duplicates++
		return false
	case seqnum.Jumps:
		return li.jumped(now, p, ext, jump)
	case seqnum.Follows:
	}
	return li.number(now, p, ext)
}

// number gives the packet its place in the layer, if it has one. It reports whether
// the ring has grown.
func (li *LayerInput) number(now time.Time, p *rtp.Packet, ext []Ext) (wrote bool) {
	in := incoming{at: now, packet: p, ext: ext}
	in.seq, in.ts = li.numbers.line.Extend(p.SequenceNumber, p.Timestamp)
	if !li.nack.Received(now, in.seq) {
		li.layer.stats.Duplicates++
		return false
	}
	if !li.heardWithin(now, unheardAfter) {
		li.asking.resume()
	}
	li.heard = now
	li.numbers.count(in.seq)
	if len(p.Payload) == 0 && li.numbers.gaps.Remove(in.seq) {
		li.layer.stats.Padding++
		return false
	}
	var ok bool
	if in.mapped, ok = li.numbers.gaps.Map(in.seq); !ok {
		return false
	}
	in.info = li.classify(now, in.ts, p.Payload, ext)
	in.place = li.place(now, p.Payload, ext)
	return li.admit(&in)
}

// admit stores the packet if the input feeds the layer, or takes it by this packet. It
// reports whether the ring has grown.
func (li *LayerInput) admit(in *incoming) (wrote bool) {
	l := li.layer
	if l.active == li {
		li.releaseHold(in)
	} else if li.handsOver(in.at) {
		if wrote, waits := li.handOver(in); wrote || waits {
			return wrote
		}
	}
	o := li.offer(in)
	switch v := o.decide(li.splice.follows); v {
	case forward:
	case discard:
		return false
	case hold:
		li.splice.held = true
		return false
	case skip:
		li.keepSets(in)
		return false
	case await, awaitKeyframe:
		if v == awaitKeyframe {
			li.asking.keyframe(in.at) // this one has answered the last request
		}
		li.keepSets(in)
		li.wait(in)
		return false
	case resume:
		li.goOn(in)
		li.storeSets(in)
	case take, takeNext:
		li.splice.continues = v == takeNext
		li.take(in)
		li.storeSets(in)
		li.splice.begun = false
	}
	if !li.splice.begun && (in.info.Keyframe || in.info.Parameters == 0) { // what follows the sets will tell
		li.begin(in)
	}
	if in.mapped < li.splice.shift.from {
		return false
	}
	li.store(in)
	return true
}

// store appends the packet to the ring under its final numbers.
func (li *LayerInput) store(in *incoming) {
	l, info, p, ext := li.layer, in.info, in.packet, in.ext
	now, seq, ts := in.at, in.mapped+li.splice.shift.seq, li.splice.shift.at(in.ts)
	newest := !l.out.started || seq > l.out.seq
	l.renumber(p.Payload, ext, li.splice.shift, newest)
	if len(ext) > 0 && li.block == nil {
		li.block = make([]byte, 0, mostExtensions)
	}
	stored := l.ring.Append(ring.Packet{
		Seq: seq, Timestamp: ts, Arrival: now, Marker: p.Marker,
		Keyframe: info.Keyframe, FrameStart: info.FrameStart,
		TemporalLayer: in.place.Layer, LayerSync: in.place.Sync, SwitchingPoint: in.place.Switch,
		Extensions: appendExt(li.block, ext), Payload: p.Payload,
	})
	if info.Parameters != 0 {
		l.keepParameters((*Packet)(stored), info)
	}
	if newest {
		l.out.seq = seq
	}
	if !l.out.started || int64(ts-l.out.ts) > 0 {
		l.out.ts, l.out.arrival = ts, now
	}
	l.out.started = true
	if known := li.recognized.structure; known != nil {
		l.out.structure = known
	}
	from := li.input.config.Load()
	l.out.publication, l.out.shift, l.out.origin = from.Publication, li.splice.shift.ts, ""
	if len(from.Path) > 0 {
		l.out.origin = from.Path[0]
	}
	l.measureCost(in, ts, len(stored.Extensions))
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

// mostExtensions bounds the bytes of a packet's header extensions.
const mostExtensions = 256

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
