package edge

import (
	"maps"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/send"
	"github.com/deltacdn/delta/internal/send/allot"
	"github.com/deltacdn/delta/internal/send/bwe"
)

// Stats is a snapshot of an edge. Counters never decrease.
type Stats struct {
	Viewers  map[cdn.StreamID]int // now
	Sessions []ViewerStats        // now
	Bitrate  float64              // payload bits a second to all viewers, now
	Packets  uint64               // sent to all viewers ever, repairs aside
	Bytes    uint64               // of payload in them
	Resent   uint64               // packets sent again
	Steered  SteerStats
	Shed     uint64 // times that viewers lost video or sound because the node was behind
}

// ViewerStats is a snapshot of one viewer.
type ViewerStats struct {
	Session string // as in events
	Stream  cdn.StreamID
	Since   time.Time
	Layer   string // of video that is sent
	Named   string // the layer that the viewer asked for; "": the best. While it does not come, Layer is another
	Paused  bool   // video waits for a keyframe
	Packets uint64
	Bytes   uint64
	Resent  uint64
	Shed    uint64        // times that video or sound was left out because the node was behind
	Skipped uint64        // times that video was left out because the viewer's connection by TCP took less than there was
	RTT     time.Duration // 0 before it is known
	Loss    float64       // share of video packets, as the viewer last reported
	Path    PathStats
	// Mismatches are the tracks that the viewer asked for and cannot decode.
	Mismatches []Mismatch
}

// PathStats is what is known of a viewer's path, and what is sent because of it.
type PathStats struct {
	// Estimate is what the path is believed to carry, in bits a second with all headers. It
	// is 0 for viewers without video.
	Estimate int
	// Source is what the estimate comes from: "transport" (transport-wide feedback), "remb",
	// "reports", or "nothing" while the viewer reports nothing.
	Source    string
	Congested bool // more is sent than the path carries
	// Mode is how much of the layer's video is sent: "full", "partial" (its lower temporal
	// layers), "keyframes", or "paused".
	Mode     string
	Temporal int // how many temporal layers are sent, the lowest first; 0: all
	// Reason is why the last step was taken: "start", "congestion", "loss", "silence" (the
	// viewer reports nothing), "room" (a probe has found some), or "limited" (by the
	// viewer's limits, a [Policy], or the layers that there are).
	Reason    string
	RoundTrip time.Duration // 0 before it is known
	Queue     time.Duration // that stands on the path
	Loss      float64       // share of all packets, lately
	// RepairDelay is how long the player is told to hold pictures back, so that what is lost
	// can be repaired in time: see [Adapt].
	RepairDelay time.Duration
}

func pathStats(p send.PathStats) PathStats {
	return PathStats{
		Estimate: int(p.Estimate), Source: p.Source.String(), Congested: p.Verdict == bwe.Overuse, Mode: p.Mode.String(),
		Temporal: temporalLayers(p.Mode, p.Temporal), Reason: p.Reason.String(),
		RoundTrip: p.RoundTrip, Queue: p.Queue, Loss: p.Loss, RepairDelay: p.Playout,
	}
}

// temporalLayers returns how many temporal layers are sent, if the highest is as given; 0: all.
func temporalLayers(m allot.Mode, highest int) int {
	if m != allot.Partial {
		return 0
	}
	return highest + 1
}

// Viewers returns how many viewers each stream has now. Viewers that wait for it count.
func (e *Edge) Viewers() map[cdn.StreamID]int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return maps.Clone(e.count)
}

// Steered returns counts of what the [Steerer] answered.
func (e *Edge) Steered() SteerStats { return e.steered.stats() }

// Stats returns a snapshot of the edge and its viewers.
func (e *Edge) Stats() Stats {
	e.mu.Lock()
	st := e.past
	all := make(map[*playSession]*cdn.Stream, len(e.viewers))
	for v := range e.viewers {
		if v.transport != nil {
			all[v] = v.stream
		}
	}
	e.mu.Unlock()
	st.Viewers = make(map[cdn.StreamID]int)
	st.Steered = e.steered.stats()
	for v, stream := range all {
		sent := v.transport.Stats()
		st.Viewers[v.id]++
		if stream != nil {
			st.Bitrate += bitrate(stream, sent)
		}
		st.Packets += sent.Packets
		st.Bytes += sent.Bytes
		st.Resent += sent.Resent
		st.Shed += sent.Shed
		var misses []Mismatch
		for _, m := range v.transport.Mismatches() {
			misses = append(misses, mismatch(m))
		}
		st.Sessions = append(st.Sessions, ViewerStats{
			Session: v.admission.Name(), Stream: v.id, Since: v.admission.Begun(), Layer: sent.Layer, Named: sent.Named, Paused: sent.Paused,
			Mismatches: misses,
			Packets:    sent.Packets, Bytes: sent.Bytes, Resent: sent.Resent, Shed: sent.Shed, Skipped: sent.Skipped, RTT: sent.RTT, Loss: sent.Loss,
			Path: pathStats(sent.Path),
		})
	}
	return st
}

// bitrate returns the bitrate of the layers that a viewer is sent, in bits a second.
func bitrate(s *cdn.Stream, sent send.Stats) (sum float64) {
	for _, t := range s.Tracks() {
		for _, l := range t.Layers() {
			if t.Info().Kind == cdn.Audio || l.Name() == sent.Layer && !sent.Paused {
				sum += l.Bitrate()
			}
		}
	}
	return sum
}
