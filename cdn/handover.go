package cdn

import (
	"slices"
	"time"

	"github.com/pion/rtp"

	"github.com/deltacdn/delta/internal/rtp/seqnum"
)

// A handover is how an input of the same publication goes on where the active one is,
// between two frames and without leaving one out ([InputConfig].Handover). What the
// new input brings is kept until the frame that the layer has last is whole, and the
// next one begins among what is kept. An input that is behind can never have the next
// frame first: for it the active one is held at the end of a frame until the new one
// has come so far.
type handover struct {
	kept   []incoming    // by number, without those of frames that the layer has passed
	bytes  int           // of their payloads
	behind time.Time     // when the input fell behind the layer; zero: it is not behind
	least  time.Duration // the smallest lag since then
	gained time.Time     // when the lag last shrank
	failed bool          // it takes over at a keyframe, as others do
}

const (
	// handoverWithin is how long a handover is tried.
	handoverWithin = 3 * time.Second
	// repairsWithin is how long it waits for what the active input has lost.
	repairsWithin = 500 * time.Millisecond
	// behindLong is how long an input has to be behind for the active one to be held.
	behindLong = 100 * time.Millisecond
	// An input that is behind by more than a little may be catching up: for it the active
	// one is held once it has not gained by aStep for steadyFor.
	aLittle   = 80 * time.Millisecond
	aStep     = 10 * time.Millisecond
	steadyFor = 300 * time.Millisecond
	// mostHeld is the largest lag that the active input waits for; heldSpare is added to
	// the wait.
	mostHeld  = time.Second
	heldSpare = 400 * time.Millisecond
	// What is kept of an input.
	maxKept      = 1024
	maxKeptBytes = 1 << 20
)

// handsOver reports whether the input waits to go on where the active one is.
func (li *LayerInput) handsOver(now time.Time) bool {
	h := li.splice.handover
	if h == nil || h.failed {
		return false
	}
	if !li.layer.out.started || !li.isSibling() || now.Sub(li.first) > handoverWithin {
		li.giveUpHandover()
		return false
	}
	return true
}

// giveUpHandover has the input take over at a keyframe, which it asks for.
func (li *LayerInput) giveUpHandover() {
	l := li.layer
	li.splice.handover = &handover{failed: true}
	if !l.heldUntil.IsZero() {
		l.heldUntil = overdue
	}
	if l.track.info.Kind == Video && !li.gone {
		li.asking.keyframe(time.Now())
	}
}

// overdue is a time for which nothing waits.
var overdue = time.Unix(0, 0)

// handOver keeps a packet, and takes the layer if it can. wrote: the ring has grown;
// waits: the next packets may tell more.
func (li *LayerInput) handOver(in *incoming) (wrote, waits bool) {
	l, h := li.layer, li.splice.handover
	li.noteSibling(in) // should the active one be lost meanwhile
	age := l.passedBy(in.ts)
	if age >= 0 {
		li.hold(in.at, age)
	} else {
		h.behind = time.Time{}
	}
	if age <= 0 {
		h.keep(in.clone())
	}
	if li.tryHandover(in.at) {
		return true, false
	}
	if l.active == nil { // what was to go on in its place is lost
		li.giveUpHandover()
		return false, false
	}
	return false, true
}

// passedBy returns how far the layer is ahead of a frame of a sibling: 0 if that is the
// layer's newest, less if it is to come.
func (l *Layer) passedBy(ts uint64) time.Duration {
	ticks := int32(uint32(l.out.ts) - uint32(ts+l.out.shift))
	return time.Duration(float64(ticks) / float64(l.track.info.Codec.ClockRate) * float64(time.Second))
}

// hold has the active input wait for one that is behind.
func (li *LayerInput) hold(now time.Time, behind time.Duration) {
	l, h := li.layer, li.splice.handover
	switch {
	case h.behind.IsZero():
		h.behind, h.least, h.gained = now, behind, now
		return
	case behind <= h.least-aStep:
		h.least, h.gained = behind, now
	}
	ready := behind <= aLittle && now.Sub(h.behind) >= behindLong || now.Sub(h.gained) >= steadyFor
	if ready && behind <= mostHeld && l.heldUntil.IsZero() && li.mayReplace(now) {
		l.heldUntil = now.Add(behind + heldSpare)
	}
}

// isStopped reports whether the active input has to stop ahead of the packet, since
// another is about to go on in its place.
func (li *LayerInput) isStopped(in *incoming) bool {
	l := li.layer
	return !l.heldUntil.IsZero() && int64(li.splice.shift.at(in.ts)-l.out.ts) > 0 && l.endsFrame()
}

// releaseHold lets the active input go on if the other one has not come in time. If it
// was stopped, it goes on at a keyframe.
func (li *LayerInput) releaseHold(in *incoming) {
	l := li.layer
	if l.heldUntil.IsZero() || in.at.Before(l.heldUntil) || !li.isStopped(in) {
		return
	}
	l.heldUntil = time.Time{}
	if !li.splice.held {
		return
	}
	li.splice.held = false
	li.numbers.resync = resync{due: true, jump: seqnum.Jump{Gap: true}, until: in.at.Add(resyncFor)}
	if l.track.info.Kind == Video {
		li.asking.keyframe(in.at)
	}
	for _, other := range l.inputs {
		if other.splice.handover != nil {
			other.splice.handover = &handover{failed: true}
		}
	}
}

// endsFrame reports whether what the layer has ends with a whole frame.
func (l *Layer) endsFrame() bool { return l.track.info.Kind == Audio || l.isWhole() }

// mayReplace reports whether nothing of the active input is missing that may still
// come.
func (li *LayerInput) mayReplace(now time.Time) bool {
	active := li.layer.active
	return active == nil || active.nack.Missing() == 0 || now.Sub(li.first) > repairsWithin
}

// keep inserts a packet where its number belongs.
func (h *handover) keep(k incoming) {
	i, _ := slices.BinarySearchFunc(h.kept, k.mapped, func(a incoming, m uint64) int {
		return int(int64(a.mapped - m))
	})
	h.kept = slices.Insert(h.kept, i, k)
	h.bytes += len(k.packet.Payload)
	for len(h.kept) > maxKept || h.bytes > maxKeptBytes {
		h.dropFirst()
	}
}

func (h *handover) dropFirst() {
	h.bytes -= len(h.kept[0].packet.Payload)
	h.kept[0] = incoming{}
	h.kept = h.kept[1:]
}

// tryHandover takes the layer if the frame that follows what it has is among what is
// kept.
func (li *LayerInput) tryHandover(now time.Time) (wrote bool) {
	l, h := li.layer, li.splice.handover
	for len(h.kept) > 0 && l.passedBy(h.kept[0].ts) > 0 {
		h.dropFirst()
	}
	next := -1 // index of the first packet of the frame after the layer's newest
	for i := range h.kept {
		if uint32(h.kept[i].ts+l.out.shift) != uint32(l.out.ts) {
			next = i
			break
		}
	}
	if next <= 0 || h.kept[next].mapped != h.kept[next-1].mapped+1 || !h.kept[next].info.FrameStart || !l.endsFrame() || !li.mayReplace(now) {
		return false
	}
	last := &h.kept[next-1]
	m := sibling{found: true, last: last.mapped}
	m.identify(l, last.packet.Payload, last.ext)
	li.splice.match, li.splice.continues = m, true
	rest := h.kept[next:]
	li.splice.handover = nil
	l.heldUntil = time.Time{}
	if before := l.active; before != nil {
		before.splice.held = false
	}
	for i := range rest {
		rest[i].at = now
	}
	li.take(&rest[0])
	li.splice.begun = true // no keyframe is needed: the frame ahead of it was stored
	for i := range rest {
		li.store(&rest[i])
	}
	return true
}

// clone returns a copy that shares no memory with in.
func (in *incoming) clone() incoming {
	p := copyPacket(in.packet)
	return incoming{at: in.at, seq: in.seq, mapped: in.mapped, ts: in.ts, packet: &p, ext: copyExt(in.ext), info: in.info, place: in.place}
}

func copyPacket(p *rtp.Packet) rtp.Packet {
	return rtp.Packet{
		Header:  rtp.Header{SequenceNumber: p.SequenceNumber, Timestamp: p.Timestamp, Marker: p.Marker},
		Payload: append([]byte(nil), p.Payload...),
	}
}

func copyExt(ext []Ext) (all []Ext) {
	for _, e := range ext {
		all = append(all, Ext{ID: e.ID, Data: append([]byte(nil), e.Data...)})
	}
	return all
}
