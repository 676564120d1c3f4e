package send

import (
	"math"
	"slices"
	"time"

	"github.com/deltacdn/delta/internal/send/allot"
	"github.com/deltacdn/delta/internal/send/bwe"
)

// A viewer that goes down to a lower layer waits for a keyframe of that, which may be as far
// away as the publisher's interval is long. So that its picture does not stand meanwhile:
//
//   - the base layer of what it has goes on, if the path carries that and loses nothing;
//   - if not, the lower layer begins with its newest keyframe, although that has passed, and
//     what followed is sent somewhat faster than it came.

// canBridge reports whether the path carries the base layers of what is sent, beside what stays as
// it is on the way down to a rung.
func (s *Set) canBridge(now time.Time, to allot.Rung, state *bwe.State) bool {
	if state.Loss > state.Inherent+lossy || !s.canThin(now) {
		return false
	}
	rate := 0.0
	for _, snd := range s.senders {
		if !snd.adapts() || !trackHasMedia(now, snd.line.Track) {
			continue
		}
		switch cost := snd.feed.layer.Cost(); {
		case snd.fits(to):
			rate += cost.Bitrate
		case len(cost.Temporal) < 2:
			return false
		default:
			rate += cost.Temporal[0]
		}
	}
	return rate <= bridgeShare*state.Bitrate
}

// fits reports whether a rung allows the present layer.
func (s *Sender) fits(r allot.Rung) bool {
	return slices.Index(ranked(s.line.Track), s.feed.layer) <= r.Layer
}

// descends reports whether the next layer is lower than the present one.
func (s *Sender) descends() bool {
	order := ranked(s.line.Track)
	return s.next.layer != nil && slices.Index(order, s.next.layer) < slices.Index(order, s.feed.layer)
}

// bridgeShare is how much of the estimate that may take, beside sound and while the queue
// drains.
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
		n.cursor, n.most = o.Since, most+fresh // by the publisher's clock it may be older: layers differ in delay
		s.shedding.began = now                 // what followed it is not late
	}
}

// drainRate bounds the rate of bursts while a queue stands after a step down, in bits a second:
// to somewhat less than arrives, which is what the path carries then. The estimate may not have
// come down to that.
func (s *Set) drainRate(now time.Time) float64 {
	a := s.adaptation
	if a == nil || !a.fellLately(now) {
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
