package send

import (
	"time"

	"github.com/deltacdn/delta/cdn"
)

// Start says with what a receiver begins.
type Start struct {
	// Mode is the way to begin.
	Mode StartMode
	// Age is how far the newest keyframe may be behind what is live; an older one is
	// not shown. If zero, 12 s, which is what a node keeps. With StartAsk a keyframe must
	// not be older than 500 ms.
	Age time.Duration
	// Bytes is how much may be sent to catch up. If zero, 8 MiB, which is what a node
	// keeps.
	Bytes int
}

// A StartMode is a way to begin.
type StartMode int

// The ways to begin.
const (
	StartDefault  StartMode = iota // StartCatchUp
	StartAsk                       // with the next keyframe, which is asked for
	StartSnapshot                  // with the newest keyframe, and then as StartAsk
	StartCatchUp                   // with the newest keyframe and what followed, faster than it came
)

func (c Start) withDefaults() Start {
	if c.Mode == StartDefault {
		c.Mode = StartCatchUp
	}
	if c.Age <= 0 {
		c.Age = 12 * time.Second
	}
	if c.Bytes <= 0 {
		c.Bytes = 8 << 20
	}
	return c
}

const (
	// fresh is the age up to which a keyframe is begun with in every mode: it may be the
	// one that was asked for while the receiver connected.
	fresh = 500 * time.Millisecond
	// worthAsking is the age from which on a new keyframe is asked for while the receiver
	// catches up from this one, since that takes so long.
	worthAsking = 2 * time.Second
	// mostBurst is for how long what followed the keyframe may keep a path busy that is known
	// to be narrow.
	mostBurst = 300 * time.Millisecond
)

// findOpening returns what there is to begin with, and how: which is StartAsk where nothing
// of it may be used. It asks for a keyframe where one is wanted.
func (s *Sender) findOpening(now time.Time) (cdn.Opening, StartMode) {
	layer := s.feed.layer
	o := layer.Opening(now)
	if !s.set.config.Resumes { // what a node has already is not sent again because nothing came since
		o.Age = max(o.Age-o.Silence, 0)
	}
	how := s.set.config.Start.with(o)
	if !isLive(now, layer) && layer.AdvertisedBitrate() > 0 {
		how = StartAsk // it has not been sent to this node since
	}
	if rate := s.set.config.Trunk.rate(now); rate > 0 && o.Age > fresh && float64(8*o.Bytes) > rate*mostBurst.Seconds() {
		how = StartAsk // it would be a burst on a path that is narrow
	}
	if how != StartCatchUp || o.Age > worthAsking {
		layer.RequestKeyframe()
		s.set.step(StepAsked)
	}
	return o, how
}

func (c Start) with(o cdn.Opening) StartMode {
	switch {
	case o.Whole && o.Age <= fresh:
		return StartCatchUp
	case c.Mode == StartAsk || o.Age > c.Age:
		return StartAsk
	case c.Mode == StartCatchUp && o.Whole && o.Bytes <= c.Bytes:
		return StartCatchUp
	case len(o.Keyframe) > 0:
		return StartSnapshot
	}
	return StartAsk
}

// start puts the cursor of a sender that waits for a keyframe where the receiver begins.
func (s *Sender) start(now time.Time) {
	s.shedding.began, s.wait.asked = now, true
	s.feed.cursor = s.feed.layer.Live()
	if !s.video {
		return
	}
	o, how := s.findOpening(now)
	if how == StartCatchUp {
		s.feed.cursor = o.Since
	}
	switch {
	case how == StartAsk, len(o.Keyframe) == 0: // if it is not there, it is coming just now
		return
	case how == StartCatchUp:
		s.enter(catchingUp, onStart)
	default:
		s.enter(opening, onStart)
	}
	s.snapshot.packets = append(o.Parameters[:len(o.Parameters):len(o.Parameters)], o.Keyframe...)
}
