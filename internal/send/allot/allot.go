// Package allot chooses what one viewer is sent of what there is: a layer, some of
// its temporal layers, only keyframes, or sound alone.
//
// It is pure: time is an argument. A [Ladder] is what can be chosen, a [Policy]
// chooses, and [Adaptive] is the policy of the project.
package allot

import (
	"time"

	"github.com/deltacdn/delta/internal/send/bwe"
	"github.com/deltacdn/delta/internal/send/instant"
)

// A Layer is what a policy knows of an encoding. The bitrates are the highest of
// late (see package ratemeter), in bits a second with headers.
type Layer struct {
	Name     string
	Height   int       // of the picture; 0: unknown
	Bitrate  float64   // of the whole layer; 0: nothing comes
	Temporal []float64 // of its temporal layers up to each, if they can be dropped
	Keyframe float64   // the size of a keyframe, in bits; 0: unknown
}

// A Mode is how much of a layer is sent.
type Mode uint8

// The modes, the least first.
const (
	Paused    Mode = iota // no video; sound goes on
	Keyframes             // of a layer, nothing else
	Partial               // its temporal layers up to one
	Full
)

func (m Mode) String() string {
	return [...]string{"paused", "keyframes", "partial", "full"}[m]
}

// A Rung is one thing that can be chosen.
type Rung struct {
	Mode     Mode
	Layer    int     // index in the layers; of Paused -1
	Temporal int     // of Partial: the highest that is sent
	Cost     float64 // bits a second, sound included
}

// shows reports whether r and o show the same, whatever they cost.
func (r Rung) shows(o Rung) bool {
	return r.Mode == o.Mode && r.Layer == o.Layer && r.Temporal == o.Temporal
}

// A Ladder is what can be chosen, the least first. Its first rung is Paused.
type Ladder []Rung

// Limits are what a viewer may get at most. A zero field does not limit.
type Limits struct {
	Bitrate float64 // bits a second, sound included
	Height  int
	Layers  int // how many, the lowest first
}

// keyframesPart is what the keyframes of a layer cost of the layer at least, if one comes
// every few seconds.
const keyframesPart = 0.1

// keyframeTime is how long the path may take for a keyframe of those that are sent alone. A
// still image that takes longer is of the past, and no image is better. With what is kept
// free for sound, and where the estimate is not far below what the path carries, a keyframe
// is whole at most 400 ms later than it could be.
const keyframeTime = 700 * time.Millisecond

// keyframes returns what keyframes alone cost: the rate at which one of them is there in time.
func (l Layer) keyframes() float64 {
	return max(keyframesPart*l.Bitrate, l.Keyframe/keyframeTime.Seconds())
}

// Build appends to ladder[:0] the rungs that layers and limits give. layers are in
// the order of what they cost; sound is the bitrate of what is sent besides video.
// Only the lowest layer is thinned out: above it, the next lower layer looks better
// than half of a layer's frames.
func Build(ladder Ladder, layers []Layer, sound float64, limits Limits) Ladder {
	ladder = append(ladder[:0], Rung{Layer: -1, Cost: sound})
	for i, l := range layers {
		if l.Bitrate <= 0 {
			continue
		}
		if len(ladder) == 1 {
			ladder = l.appendParts(ladder, i, sound)
		} else if !limits.allow(i, l, sound) {
			break
		}
		ladder = append(ladder, Rung{Mode: Full, Layer: i, Cost: sound + l.Bitrate})
	}
	return ladder
}

// appendParts appends the rungs below all of layer i.
func (l Layer) appendParts(ladder Ladder, i int, sound float64) Ladder {
	stills := len(ladder)
	ladder = append(ladder, Rung{Mode: Keyframes, Layer: i})
	least := l.Bitrate // of a moving picture
	for t := range max(0, len(l.Temporal)-1) {
		if !l.isEmpty(t) {
			least = min(least, l.Temporal[t])
			ladder = append(ladder, Rung{Mode: Partial, Layer: i, Temporal: t, Cost: sound + l.Temporal[t]})
		}
	}
	ladder[stills].Cost = sound + min(l.keyframes(), least)
	return ladder
}

// isEmpty reports whether temporal layer t has no frames, though those above it have.
func (l Layer) isEmpty(t int) bool {
	below := 0.0
	if t > 0 {
		below = l.Temporal[t-1]
	}
	return l.Temporal[t] == below && below < l.Temporal[len(l.Temporal)-1]
}

func (l Limits) allow(i int, layer Layer, sound float64) bool {
	return (l.Bitrate <= 0 || sound+layer.Bitrate <= l.Bitrate) &&
		(l.Height <= 0 || layer.Height <= l.Height) &&
		(l.Layers <= 0 || i < l.Layers)
}

// Fitting returns the highest rung that costs no more than bitrate.
func (l Ladder) Fitting(bitrate float64) int {
	best := 0
	for i, r := range l {
		if r.Cost <= bitrate {
			best = i
		}
	}
	return best
}

// Find returns where a rung is that shows the same as r, or the next lower.
func (l Ladder) Find(r Rung) int {
	best := 0
	for i, o := range l {
		if o.Layer < r.Layer || o.Layer == r.Layer && (o.Mode < r.Mode || o.Mode == r.Mode && o.Temporal <= r.Temporal) {
			best = i
		}
	}
	return best
}

// Lowest returns the first rung that shows a moving picture, or if none does, the first with
// video. It is 0 where there is no video.
func (l Ladder) Lowest() int {
	for i, r := range l {
		if r.Mode >= Partial {
			return i
		}
	}
	return min(1, len(l)-1)
}

// lowestWhole returns the first rung that shows all frames of a layer, or if none does, the
// last, which shows most of them.
func (l Ladder) lowestWhole() int {
	for i, r := range l {
		if r.Mode == Full {
			return i
		}
	}
	return len(l) - 1
}

// A Reason says why a step was taken.
type Reason uint8

// The reasons.
const (
	Stay       Reason = iota
	Start             // the first choice
	Congestion        // a queue grows
	Loss              // packets are lost because of the rate
	Silence           // the viewer reports nothing
	Room              // a probe found room
	Limited           // the layers, the limits, or what the user's policy wants have changed
	Backlog           // a connection by TCP takes less than there is
)

func (r Reason) String() string {
	return [...]string{"stay", "start", "congestion", "loss", "silence", "room", "limited", "backlog"}[r]
}

// A View is what a policy decides by.
type View struct {
	Now    time.Time
	State  bwe.State
	Ladder Ladder  // not empty; not to be kept
	Layers []Layer // that rungs are of, for a [Guided]: their names and heights
	Rung   int     // what is sent now, as an index in Ladder; before the first choice 0

	Room    int  // of a [Guided]: the highest rung that its search has found room for, or Rung
	Probing bool // of a [Guided]: its search goes on

	at instant.T // Now, as the policy keeps times
}

// A Choice is what a policy decides.
type Choice struct {
	Rung   int // an index in the view's ladder
	Reason Reason
	// Probe asks for a probe that begins now. The zero Probe asks for none.
	Probe bwe.Probe
	// Try is the rung that is sent for a moment instead, where nothing can be repeated to
	// probe; 0: the next above Rung.
	Try int
	// Wanted is what may be sent, also for a probe, as indices in the view's ladder. The zero
	// Range is all. A probe that is under way for anything else is ended.
	Wanted Range
	// Doze says that no estimate is needed: [bwe.Estimator.Doze] may be called, and
	// [bwe.Estimator.Wake] when it is not set.
	Doze bool
	// Settled says that the viewer has all that there is, and nothing is wrong. While
	// transport-wide feedback would tell at once if something were, the policy need be asked only
	// twice a second.
	Settled bool
}

// A Policy chooses for one viewer. Choose is called when feedback has come that says that
// something is wrong, and at least every 200 ms unless its last choice was Settled. It must not
// block.
type Policy interface {
	Choose(View) Choice
}
