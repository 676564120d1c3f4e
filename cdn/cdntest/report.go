package cdntest

import (
	"slices"
	"time"

	"github.com/deltacdn/delta/cdn"
)

// Report is what a [Viewer] got so far.
type Report struct {
	Began            time.Time // the viewer was started
	Connected        time.Time // media could flow; zero: not yet
	KeyframeRequests int       // that it sent
	Tracks           []TrackReport
}

// TrackReport is what a [Viewer] got of one track.
type TrackReport struct {
	ID, StreamID string
	Kind         cdn.Kind
	Codec        cdn.Codec
	SSRC         uint32
	PayloadType  uint8

	Packets    int // each counted once
	Bytes      int // of RTP payload
	Duplicates int // packets that came again
	Reordered  int // packets that came after one with a higher number
	Repaired   int // packets that came by RTX
	Missing    int // sequence numbers between the lowest and the highest that did not come
	Padding    int // packets without payload

	// First is when the first media packet came. BeganWithKeyframe: it was of
	// a keyframe. For audio, every packet is.
	First             time.Time
	BeganWithKeyframe bool
	// Frames are those that arrived whole, in the order in which they became
	// so.
	Frames []Frame
	// Partial are the frames of which some packets are missing, and Absent the
	// numbers of which no packet came, before the newest whole frame.
	Partial, Absent int
	// TimestampJumps counts the whole frames whose timestamps do not fit those
	// of the frames before, by more than 100 ms of the clock by which they
	// were sent, or go back.
	TimestampJumps int

	SenderReports []SenderReport
	// Extensions has the value last seen of each header extension.
	Extensions map[string][]byte
	// Bye is when the server said that the track ended; zero: it has not.
	Bye       time.Time
	ByeReason string

	// Faults describes the first things that arrived otherwise than they were
	// sent: changed payloads, wrong markers, timestamps or numbers.
	// FaultCount counts all.
	Faults     []string
	FaultCount int
}

// A Frame is a video frame, or an audio packet, that arrived whole.
type Frame struct {
	Seed      uint32 // of its publisher
	Layer     int    // index in [Video].Layers
	Number    uint32 // in its track, the same in all layers
	Key       bool
	Packets   int
	Bytes     int       // of RTP payload
	Sequence  uint64    // extended sequence number of its first packet
	Timestamp uint64    // extended RTP timestamp
	Sent      time.Time // by its publisher
	Done      time.Time // when its last packet came
	// Rewind: it is a keyframe that came before, as did some that follow.
	Rewind bool
	// Decodable: it is a keyframe, or all since the last keyframe arrived
	// whole. Of a track with temporal layers, what it refers to did.
	Decodable bool
	// Temporal is its temporal layer, from 0, if there are several.
	Temporal int

	layered bool // there are
}

// Latency returns the time from when the frame was sent until all of it was here.
func (f Frame) Latency() time.Duration { return f.Done.Sub(f.Sent) }

// A SenderReport is one that a viewer got.
type SenderReport struct {
	NTP            time.Time
	RTP            uint32
	Packets, Bytes uint32
	Arrived        time.Time
}

// Report returns what the viewer got so far. The caller may change it.
func (v *Viewer) Report() Report {
	v.mu.Lock()
	defer v.mu.Unlock()
	r := Report{Began: v.began, Connected: v.connectedAt, KeyframeRequests: v.requests}
	for _, t := range v.tracks {
		r.Tracks = append(r.Tracks, t.snapshot())
	}
	return r
}

// Video returns the first video track, or nothing if there is none yet.
func (r Report) Video() TrackReport { return r.first(cdn.Video) }

// Audio returns the first audio track, or nothing if there is none yet.
func (r Report) Audio() TrackReport { return r.first(cdn.Audio) }

func (r Report) first(k cdn.Kind) TrackReport {
	for _, t := range r.Tracks {
		if t.Kind == k {
			return t
		}
	}
	return TrackReport{}
}

// WholeWithin returns the share of all tracks' frames that arrived whole within
// d of being sent. See [TrackReport.WholeWithin].
func (r Report) WholeWithin(d time.Duration) float64 {
	var within, all int
	for _, t := range r.Tracks {
		w, a := t.within(d)
		within, all = within+w, all+a
	}
	return share(within, all)
}

// WholeWithin returns the share of frames that arrived whole within d of being
// sent, of all from the first that the viewer got anything of to the newest
// whole one. It is 0 if there are none.
func (t TrackReport) WholeWithin(d time.Duration) float64 {
	return share(t.within(d))
}

func (t TrackReport) within(d time.Duration) (within, all int) {
	for _, f := range t.Frames {
		if f.Latency() <= d {
			within++
		}
	}
	return within, len(t.Frames) + t.Partial + t.Absent
}

func share(part, all int) float64 {
	if all == 0 {
		return 0
	}
	return float64(part) / float64(all)
}

// Latency returns the latency that the share q of the whole frames does not
// exceed: 0.5 is the median, 1 the worst. It is 0 if there are none.
func (t TrackReport) Latency(q float64) time.Duration {
	if len(t.Frames) == 0 {
		return 0
	}
	all := make([]time.Duration, 0, len(t.Frames))
	for _, f := range t.Frames {
		all = append(all, f.Latency())
	}
	slices.Sort(all)
	i := int(q*float64(len(all))+0.999999) - 1
	return all[min(max(i, 0), len(all)-1)]
}

// Undecodable returns how many whole frames a decoder could not have shown.
func (t TrackReport) Undecodable() int {
	var n int
	for _, f := range t.Frames {
		if !f.Decodable {
			n++
		}
	}
	return n
}

// Gap returns the longest time between one whole frame and the next.
func (t TrackReport) Gap() time.Duration {
	var longest time.Duration
	for i := 1; i < len(t.Frames); i++ {
		longest = max(longest, t.Frames[i].Done.Sub(t.Frames[i-1].Done))
	}
	return longest
}
