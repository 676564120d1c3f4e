package receive

import "fmt"

// A Drop is why a packet was not taken.
type Drop int

// The reasons.
const (
	Unreadable   Drop = iota // no RTP packet
	NotAuthentic             // forged, doubled, or too old
	Unmatched                // belongs to no m-section that is known
	PayloadType              // of a format that was not accepted
	UnknownLayer             // of a layer that was not offered
	SecondSource             // of an SSRC that sends beside the one whose layer it is
	Superseded               // sent again, of an SSRC that another took the place of
	Refused                  // the stream takes no such layer
	drops
)

func (d Drop) String() string {
	switch d {
	case Unreadable:
		return "unreadable"
	case NotAuthentic:
		return "not authentic"
	case Unmatched:
		return "unmatched"
	case PayloadType:
		return "payload type"
	case UnknownLayer:
		return "unknown layer"
	case SecondSource:
		return "second source"
	case Superseded:
		return "superseded"
	case Refused:
		return "refused"
	case drops:
	}
	return fmt.Sprintf("drop %d", int(d))
}

// Stats counts what came from a sender.
type Stats struct {
	Packets uint64 // authentic ones
	Bytes   uint64 // of these, as they came
	Repairs uint64 // of these, by RTX
	// Restored counts packets that were lost, and came in others, by RED or forward error
	// correction. They are not in Packets.
	Restored uint64
	Dropped  [drops]uint64
}

// Add adds what another session counted.
func (s *Stats) Add(o Stats) {
	s.Packets += o.Packets
	s.Bytes += o.Bytes
	s.Repairs += o.Repairs
	s.Restored += o.Restored
	for i, n := range o.Dropped {
		s.Dropped[i] += n
	}
}
