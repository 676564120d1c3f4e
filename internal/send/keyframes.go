package send

import (
	"time"

	"github.com/deltacdn/delta/internal/send/budget"
	"github.com/deltacdn/delta/internal/send/thin"
)

// keyframeRequests are the receiver's requests for keyframes.
type keyframeRequests struct {
	budget budget.Requests // a viewer's share
	// In Unix nanoseconds, since a Sender is to stay small:
	passed int64 // when a request was last passed on
	lost   int64 // when a packet of the newest frame was last asked for again
}

// lostWithin is for how long a receiver of keyframes alone is taken to lack a part of the last
// one after it has asked for a packet of it. libwebrtc asks ten times, a round trip apart, and
// then for a keyframe.
const lostWithin = 2 * time.Second

// repeatedWithin is how soon a node that asks for a keyframe again has only repeated
// what may have been lost.
const repeatedWithin = 50 * time.Millisecond

// handleKeyframeRequest passes a request of the receiver's on. A viewer has a share,
// since each keyframe costs all that watch the layer. A node asks for many, and has given
// each of them a share.
func (s *Sender) handleKeyframeRequest(now time.Time) {
	k := &s.keyframes
	switch {
	case s.mode == idle:
		s.stopped.asked = true // it came ahead of the wish for the layer
	case s.mode.awaitsKeyframe():
	case s.thinnedTo() == thin.Keyframes && !isWithin(now, k.lost, lostWithin):
		// It asks since nothing comes. All who watch the layer would pay for a still image.
	case s.set.config.servesMany() && isWithin(now, k.passed, repeatedWithin):
	case s.set.config.servesMany() || k.budget.Ask(now, s.reports.minRTT):
		k.passed = now.UnixNano()
		s.feed.layer.RequestKeyframe()
	case !k.budget.Due().IsZero():
		s.set.wakeAt(k.budget.Due())
	}
}

// isWithin reports whether less than d has passed since a time in Unix nanoseconds.
func isWithin(now time.Time, since int64, d time.Duration) bool {
	return now.UnixNano()-since < int64(d)
}

// askOwed asks for a keyframe that the viewer asked for beyond its share, once it has
// one again.
func (s *Sender) askOwed(now time.Time) {
	if !s.mode.awaitsKeyframe() && s.keyframes.budget.Take(now) {
		s.feed.layer.RequestKeyframe()
	}
}
