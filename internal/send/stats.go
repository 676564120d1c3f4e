package send

import (
	"time"

	"github.com/deltacdn/delta/cdn"
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
			st.Layer, st.Paused, st.Loss = snd.feed.layer.Name(), snd.mode.awaitsKeyframe(), r.loss
		}
	}
	return st
}
