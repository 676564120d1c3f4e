package send

import (
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/send/allot"
	"github.com/deltacdn/delta/internal/send/bwe"
)

// Stats is a snapshot of what a set has sent.
type Stats struct {
	Packets uint64        // sent for the first time
	Bytes   uint64        // of payload in them
	Resent  uint64        // packets sent again
	Shed    uint64        // times that something was left out, since the node was behind
	Skipped uint64        // times that video was left out since a connection by TCP took less than there was
	Layer   string        // that is sent of the first video track
	Named   string        // layer that the receiver asked for; empty: the best
	Paused  bool          // the video waits for a keyframe
	RTT     time.Duration // the last round trip
	Loss    float64       // share of video packets lost, as last reported
	Path    PathStats
}

// PathStats is what is known of a viewer's path, and what is sent because of it. Of nodes, and
// of viewers without video, nothing is.
type PathStats struct {
	Estimate  float64    // of what the path carries, in bits a second
	Source    bwe.Source // of the estimate
	Verdict   bwe.Verdict
	LimitedBy bwe.Limit     // what keeps the estimate from being higher
	Mode      allot.Mode    // how much is sent of the layer
	Temporal  int           // of allot.Partial: the highest temporal layer that is sent
	Reason    allot.Reason  // of the last step
	RoundTrip time.Duration // 0: not known yet
	Queue     time.Duration // that stands on the path
	Loss      float64       // share of all packets lost lately
	Dozing    bool          // no estimate is needed: the viewer has the best there is
	Playout   time.Duration // how long the player is told to hold pictures back for repairs
}

// pathStats returns what is known of the path now. The caller has the set's lock.
func (s *Set) pathStats(now time.Time) (st PathStats) {
	a := s.adaptation
	if a == nil || a.path.estimator == nil {
		return PathStats{Source: bwe.Nothing, Mode: allot.Full}
	}
	state := a.path.estimator.State(now)
	return PathStats{
		Playout:  s.repairDelay(),
		Estimate: state.Bitrate, Source: state.Source, Verdict: state.Verdict, LimitedBy: state.LimitedBy,
		Mode: a.sent.Mode, Temporal: a.sent.Temporal, Reason: a.reason, RoundTrip: state.RoundTrip, Queue: state.Queue, Loss: state.Loss, Dozing: a.dozing,
	}
}

// Sent returns what was sent, with headers and what SRTP adds, and how many times
// something was left out, since the node was behind. It costs less than Stats.
func (s *Set) Sent() (sent cdn.Flow, shed uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, snd := range s.senders {
		r := &snd.reports
		sent.Packets += r.packets + r.repairs
		sent.Bytes += r.wire
		sent.Repairs += r.repairs
		shed += snd.shedding.times
	}
	return sent, shed
}

// Stats returns a snapshot.
func (s *Set) Stats() (st Stats) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st.Named = s.config.Layer
	st.Path = s.pathStats(time.Now())
	video := false
	for _, snd := range s.senders {
		r := &snd.reports
		st.Packets += r.packets
		st.Bytes += r.octets
		st.Resent += r.repairs
		st.Shed += snd.shedding.times
		st.Skipped += snd.shedding.skips
		st.RTT = max(st.RTT, r.rtt)
		if snd.video && !video {
			video = true
			st.Layer, st.Paused, st.Loss = snd.feed.layer.Name(), snd.mode.awaitsKeyframe(), float64(r.loss)
		}
	}
	return st
}
