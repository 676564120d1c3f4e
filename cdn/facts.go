package cdn

import "time"

// LayerFacts is what a node has found out about a layer that it sends on, so that
// the next one need not find it out anew. What is false, or zero, is not known.
type LayerFacts struct {
	// Opaque: no keyframe can be recognised in the layer, since its payload is
	// encrypted, or its codec unknown. A receiver may begin with any frame.
	Opaque bool
	// Keyframes: keyframes have been recognised in it.
	Keyframes bool
	// EstimatedClock: its sender reports go by arrivals at a node, and not by
	// reports of the publisher ([Clock].Estimated).
	EstimatedClock bool
	// Bitrate is the payload's, in bits a second.
	Bitrate float64
	// HeldBack: the layer does not come, whoever wants it, since the path from the node that
	// has it does not carry it.
	HeldBack bool
	// Cost is what it costs to send the layer.
	Cost LayerCost
}

// Facts returns what the node has found out about the layer, or been told.
func (l *Layer) Facts() LayerFacts {
	f := LayerFacts{Bitrate: l.Bitrate(), Cost: l.Cost()}
	if c, ok := l.Clock(); ok {
		f.EstimatedClock = c.Estimated
	}
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	switch li := l.active; {
	case l.track.info.Kind != Video:
	case li == nil:
		f.Opaque, f.Keyframes = l.expected.Opaque, l.expected.Keyframes
	default:
		f.Opaque, f.Keyframes = li.opaque(now), li.recognized.keyed || li.recognized.facts.Keyframes
	}
	f.HeldBack = l.HeldBack()
	return f
}

// Expect notes what the sender knows of a layer of the input, ahead of [Input.Start]:
// who receives the stream then knows it, too, as soon as the stream is ready. Track
// and name are as for [Input.Layer].
func (in *Input) Expect(track int, name string, f LayerFacts) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.expected == nil {
		in.expected = make(map[layerKey]LayerFacts)
	}
	in.expected[layerKey{track, name}] = f
}

// layerKey names a layer of an input.
type layerKey struct {
	track int
	name  string
}

// SetFacts notes what the node that sends the layer knows of it. It may be called
// again when that has changed.
func (li *LayerInput) SetFacts(f LayerFacts) {
	l := li.layer
	l.mu.Lock()
	defer l.mu.Unlock()
	li.recognized.facts, l.expected = f, f
	li.demand.advertised = f.Bitrate
	l.judgeHeldBackLocked()
	l.costs.tell(f.Cost)
	l.advertiseLocked()
}

// HeldBack reports whether the node that the layer comes from holds it back: see
// [LayerFacts].
func (l *Layer) HeldBack() bool { return l.heldBack.Load() }

// judgeHeldBackLocked notes whether the layer's active input is held back or, if there is
// none, all that it could have.
func (l *Layer) judgeHeldBackLocked() {
	held := len(l.inputs) > 0
	for _, li := range l.inputs {
		held = held && li.recognized.facts.HeldBack
	}
	if l.active != nil {
		held = l.active.recognized.facts.HeldBack
	}
	l.heldBack.Store(held)
}
