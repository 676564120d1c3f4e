package send

import "time"

// Stats is a snapshot of what a set has sent.
type Stats struct {
	Packets uint64 // repairs aside
	Bytes   uint64 // of payload in them
	Resent  uint64 // repairs
	Shed    uint64 // times that something was left out since the node was behind
	Layer   string // of the first video track, that is sent
	Named   string // that the receiver asked for; empty: the best
	Paused  bool   // its video waits for a keyframe
	RTT     time.Duration
	Loss    float64 // share of video packets lost, as last reported
}

// Stats returns a snapshot.
func (s *Set) Stats() (st Stats) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st.Named = s.config.Layer
	video := false
	for _, snd := range s.senders {
		r := &snd.reported
		st.Packets += r.packets
		st.Bytes += r.octets
		st.Resent += r.resent
		st.Shed += snd.shedding.times
		st.RTT = max(st.RTT, r.rtt)
		if snd.video && !video {
			video = true
			st.Layer, st.Paused, st.Loss = snd.layer.Name(), snd.waiting, r.loss
		}
	}
	return st
}
