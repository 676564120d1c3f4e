package cdn

import (
	"time"

	"github.com/deltacdn/delta/internal/rtp/codec"
)

// recognition is how far an input's keyframes can be told from other frames. It is
// guarded by the layer's mu.
type recognition struct {
	facts   LayerFacts // what the sender knows of the layer
	keyed   bool       // a keyframe was recognized
	claimed time.Time  // when one was last recognized, proved or not; zero: never
	since   int        // frames since claimed
	// structure is the newest that came with a dependency descriptor; nil: none did.
	structure *codec.Structure
}

// opaqueAfter is how long an input may go without a recognised keyframe before
// it is taken for one that cannot be looked into (an SFrame payload, an unknown
// codec): from then on any picture counts as a place to begin.
const opaqueAfter = 3 * time.Second

// classify says what the packet is to those who want to begin with it.
func (li *LayerInput) classify(now time.Time, ts uint64, payload []byte, ext []Ext) codec.Info {
	l := li.layer
	if li.first.IsZero() {
		li.first = now
	}
	newer := li.numbers.advance(ts)
	if newer {
		li.observe(now, ts)
	}
	if l.track.info.Kind == Audio {
		return codec.Info{Keyframe: true, FrameStart: true}
	}
	if newer {
		li.recognized.since++
	}
	info := l.look(payload, ext)
	info.FrameStart = info.FrameStart || newer
	switch {
	case info.Keyframe && (!info.Unproved || !li.recognized.keyed):
		li.recognized.keyed = li.recognized.keyed || !info.Unproved
		li.recognized.claimed, li.recognized.since = now, 0
		// A frame is one place to begin, though several of its packets say so.
		info.Keyframe = newer || !l.hasKeyframeAt(li.splice.shift.at(ts))
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
	l.stats.Keyframes++
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
	case li.recognized.keyed:
		return false
	case li.layer.inspect == nil:
		return true
	case !li.recognized.claimed.IsZero() && (now.Sub(li.recognized.claimed) <= claimedFor || li.recognized.since <= claimedFrames):
		return false
	case li.recognized.facts.Opaque || li.recognized.facts.Keyframes: // another node knows
		return li.recognized.facts.Opaque
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
	if data := l.descriptorData(ext); data != nil {
		return codec.ReadDescriptor(data)
	}
	return codec.Descriptor{}, false
}

// descriptorData returns a packet's dependency descriptor, nil: it has none.
func (l *Layer) descriptorData(ext []Ext) []byte {
	if l.track.dd != 0 {
		for _, e := range ext {
			if e.ID == l.track.dd {
				return e.Data
			}
		}
	}
	return nil
}

// place returns the packet's place among the temporal layers: as the dependency descriptor
// says, where there is one with a known structure, and else the payload. One that is
// encrypted looks like anything.
func (li *LayerInput) place(now time.Time, payload []byte, ext []Ext) codec.Temporal {
	l := li.layer
	if data := l.descriptorData(ext); data != nil {
		if next := codec.ReadStructure(data); next != nil {
			li.recognized.structure = next
		}
		known := li.recognized.structure
		if known == nil {
			known = l.out.structure // if the input continues that
		}
		if known != nil {
			if t, ok := known.Temporal(data); ok {
				return t
			}
		}
	}
	if l.temporal == nil || !l.clearTemporal && li.opaque(now) {
		return codec.Temporal{}
	}
	return l.temporal(payload)
}

func (l *Layer) hasKeyframeAt(ts uint64) bool {
	k := l.ring.Keyframe()
	return k != nil && k.Timestamp == ts
}
