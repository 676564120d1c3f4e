package cdn

import "github.com/deltacdn/delta/internal/rtp/codec"

// A splicer is what an input of a layer knows of the splice by which it takes the
// layer, or by which another will. It is guarded by the layer's mu.
type splicer struct {
	shift     shift         // what is added to the input's numbers
	match     sibling       // the layer's newest frame among what the input brings
	sets      parameterSets // that came ahead of the keyframe at which the input goes on
	handover  *handover     // the input is to go on where the active one is; nil: as others do
	follows   bool          // it takes the place of the active input with its first packet
	continues bool          // it took the layer where another input of the same encoder ended
	begun     bool          // it feeds the layer, and what it began with is known
	held      bool          // it feeds the layer, and was stopped for one that is to go on
	ahead     bool          // it waits, and brought what is newer than all that was sent
}

// shift is what a splice adds to an input's numbers so that they continue those sent
// last.
type shift struct {
	seq, ts uint64 // modulo 2^64
	from    uint64 // mapped number of the splice: older packets are not wanted
	picture codec.Picture
	frame   uint16
	moved   bool // whether picture and frame apply
}

// at returns the timestamp that is sent for ts.
func (s *shift) at(ts uint64) uint64 { return ts + s.ts }

// An offer is what a splice decides by: a packet of an input, and how the input, the
// layer and the stream stand.
type offer struct {
	kind       Kind
	keyframe   bool // a decoder can begin with the packet
	frameStart bool // the packet is the first of a frame
	active     bool // the input feeds the layer

	// of an input that feeds the layer
	stopped bool // it has to stop here, since another is about to go on in its place
	resync  bool // its numbers have jumped, and the layer has not gone on with the new ones
	old     bool // the packet has a number of before the jump
	gap     bool // packets may be missing at the jump
	waited  bool // a keyframe has been waited for long enough

	// of an input that does not
	leads   bool // the stream would have it take the layer
	started bool // something of the layer was sent
	vacant  bool // no input feeds the layer
	next    bool // the frame is the one that follows the newest: it is the same encoder's
	joined  bool // sound only: nothing is gained by waiting for the input's video
	late    bool // what the packet shows was sent already, or may have been
}

// A verdict is what becomes of a packet.
type verdict uint8

const (
	// forward: the packet continues what the input has sent.
	forward verdict = iota
	// discard: nobody wants the packet.
	discard
	// hold: the input stops ahead of the packet, for another.
	hold
	// skip: the input goes on with a later packet, and a decoder may need the parameter
	// sets of this one.
	skip
	// resume: the input's new numbers go on where its old ones ended.
	resume
	// await: the input may take the layer later.
	await
	// awaitKeyframe: likewise, and needs another keyframe, since this one is not shown.
	awaitKeyframe
	// take: the layer is the input's from this packet on.
	take
	// takeNext: likewise, between two frames of the same encoder.
	takeNext
)

// decide returns what becomes of a packet. It changes nothing.
//
//	feeds the layer:  forward ── jump in its numbers ──> skip … ──> resume ──> forward
//	                     └────── another is to go on ──> hold …
//	waits:            await … ──> take or takeNext ──> forward
func (o *offer) decide(follows bool) verdict {
	switch {
	case o.active:
		return o.decideActive()
	case !o.leads:
		return await
	case !o.started || follows:
		return take
	case o.kind == Audio:
		return o.decideSound()
	case o.vacant && o.frameStart && o.next:
		return takeNext
	case !o.keyframe:
		return await
	case o.late:
		return awaitKeyframe
	}
	return take
}

// decideActive returns what becomes of a packet of the input that feeds the layer.
func (o *offer) decideActive() verdict {
	switch {
	case o.stopped:
		return hold
	case !o.resync:
		return forward
	case o.old:
		return discard
	case o.kind == Audio, o.keyframe, !o.gap: // a decoder sees no difference
		return resume
	case o.frameStart && o.waited:
		return resume
	}
	return skip
}

// decideSound: sound follows the input's video, unless nothing is heard meanwhile.
func (o *offer) decideSound() verdict {
	if !o.joined && !o.vacant || o.late {
		return await
	}
	return take
}
