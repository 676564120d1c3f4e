package cdn

import (
	"time"

	"github.com/deltacdn/delta/cdn/internal/ring"
)

// A Packet is one RTP packet of a layer as a node stores it, once for all its
// readers: nobody must write to it, and a reader must not keep it beyond the
// loop body that got it. SSRC, payload type and extension ids are each
// receiver's own, so they are not here.
type Packet struct {
	Index uint64 // place in the layer's order of arrival, from 0
	// Seq and Timestamp are the RTP sequence number and timestamp, extended to 64
	// bits. They run on without gaps through every change of input.
	Seq       uint64
	Timestamp uint64
	Arrival   time.Time // when the packet came to this node
	Marker    bool      // the RTP marker bit
	// Keyframe marks the first packet of a frame at which a decoder can begin.
	Keyframe bool
	// FrameStart marks the first packet of a frame.
	FrameStart bool
	// TemporalLayer is the temporal layer of the packet's frame, from 0 to 7. No frame
	// refers to one of a higher layer. It is 0 for frames whose layer is not known, and 1
	// for frames of H.264 that none refers to.
	TemporalLayer uint8
	// LayerSync says that a receiver which has had the temporal layers below the frame's
	// can go on with the frame's, too, from this frame on (RFC 7741 section 4.2).
	LayerSync bool
	// SwitchingPoint says that a receiver which has had the temporal layers up to the
	// frame's can go on with all layers after this frame (RFC 9628 section 4.2).
	SwitchingPoint bool
	// Extensions is a run of (id, length, data…), with ids as in
	// [TrackInfo].Extensions.
	Extensions []byte
	Payload    []byte
}

// A Cursor is one reader's place in a [Layer], owned by one goroutine at a time. It
// is a small value that can be copied; the zero Cursor reads nothing.
type Cursor struct{ at ring.Cursor }

// Next returns the next packet in order of arrival, or nil if there is none now. It
// neither blocks nor allocates. A reader that has fallen behind what the layer keeps
// goes on at the oldest packet there is.
func (c *Cursor) Next() *Packet { return (*Packet)(c.at.Next()) }

// Behind returns the number of packets not yet read.
func (c *Cursor) Behind() uint64 { return c.at.Behind() }

// Lost returns the number of packets that were gone before the cursor came to them.
func (c *Cursor) Lost() uint64 { return c.at.Lost() }

// packets returns the packets of a ring as those of a layer.
func packets(all []*ring.Packet) []*Packet {
	if len(all) == 0 {
		return nil
	}
	same := make([]*Packet, len(all))
	for i, p := range all {
		same[i] = (*Packet)(p)
	}
	return same
}
