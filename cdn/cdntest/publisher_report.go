package cdntest

import (
	"time"
)

// PublisherReport is what a [Publisher] did.
type PublisherReport struct {
	Video []SentLayer // in the order of Video.Layers
	Audio SentLayer
}

// SentLayer is what a [Publisher] did in one layer.
type SentLayer struct {
	RID       string
	SSRC      uint32
	Frames    int
	Keyframes int
	Packets   int
	Bytes     int // of RTP payload
	PLIs      int // picture loss indications that came
	FIRs      int // full intra requests that came
	NACKs     int // sequence numbers that were asked for again
	// Log has an entry for each frame, in order.
	Log []SentFrame
}

// KeyframeRequests returns how often the layer was asked for a keyframe.
func (l SentLayer) KeyframeRequests() int { return l.PLIs + l.FIRs }

// A SentFrame is one frame that a [Publisher] sent.
type SentFrame struct {
	Number  uint32
	Key     bool
	Packets int
	Sent    time.Time
}
