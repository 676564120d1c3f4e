package send

import (
	"math"
	"time"

	"github.com/deltacdn/delta/internal/send/bwe"
)

// A viewer that goes down to a lower layer waits for a keyframe of that, which may be as far
// away as the publisher's interval is long. So that its picture does not stand meanwhile:
//
//   - the base layer of what it has goes on, if the path carries that and loses nothing;
//   - if not, the lower layer begins with its newest keyframe, although that has passed, and
//     what followed is sent somewhat faster than it came.

// canBridge reports whether the path carries the base layers of what is sent.
func (s *Set) canBridge(now time.Time, state *bwe.State) bool {
	if state.Loss > state.Inherent+lossy || !s.canThin(now) {
		return false
	}
	base := 0.0
	for _, snd := range s.senders {
		if !snd.adapts() {
			continue
		}
		costs := snd.feed.layer.Cost().Temporal
		if len(costs) < 2 {
			return false
		}
		base += costs[0]
	}
	return base <= bridgeShare*state.Bitrate
}

// bridgeShare is how much of the estimate the base layers may take, beside sound and while the
// queue drains.
const bridgeShare = 0.8

// bridge has the base layer of the present layer go on until the next layer begins.
func (s *Sender) bridge() {
	s.stopped.bridges = true
	s.thin(0)
}

// endBridge has as much of the layer sent as the rung says.
func (s *Sender) endBridge() {
	if s.stopped.bridges {
		s.stopped.bridges = false
		s.thin(levelOf(s.set.adaptation.sent))
	}
}

// rewind has the next layer begin with its newest keyframe, if that is no older than most. What
// the viewer sees is older than what was sent last, by the queue of its path at least.
func (s *Sender) rewind(now time.Time, most time.Duration) {
	n := &s.next
	if o := n.layer.Opening(now); o.Whole && o.Age <= most && isLive(now, n.layer) {
		n.cursor, n.most = o.Since, most+fresh // the queue may have to drain first
	}
}

// drainRate bounds the rate of bursts while a queue stands after a step down, in bits a second:
// to somewhat less than arrives, which is what the path carries then. The estimate may not have
// come down to that.
func (s *Set) drainRate(now time.Time) float64 {
	a := s.adaptation
	if a == nil || !a.fellWithin(now, drains) {
		return math.Inf(1)
	}
	state := a.path.estimator.State(now)
	if state.Source != bwe.TransportFeedback || state.Verdict != bwe.Overuse {
		return math.Inf(1)
	}
	return drainShare * state.Acknowledged
}

// drainShare is how much of what arrives is sent while the queue drains.
const drainShare = 0.85

// pacedRate returns the bitrate by which bursts of the video leave: that of the layer that is
// sent or, on the way up, of the next one if that is more.
func (s *Sender) pacedRate() float64 {
	if s.stopped.bridges || s.stopped.halted == noLayer {
		return s.target().Bitrate()
	}
	return max(s.feed.layer.Bitrate(), s.target().Bitrate())
}
