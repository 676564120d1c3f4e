package receive

import (
	"time"

	"github.com/pion/rtp"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/rtp/red"
	"github.com/deltacdn/delta/internal/sdp"
)

// This is sound that comes with redundancy (RFC 2198): what it repairs is repaired here,
// and the stream has the plain codec, which all viewers can take.

// redundancy returns the payload type of RED by which a codec is received, 0: none. Only a
// sender that prefers RED is asked for it: redundancy takes twice the bits.
func redundancy(c sdp.Codec) uint8 {
	if !c.PrefersRED {
		return 0
	}
	return c.RED
}

// A newest packet of a source is the one with the highest number so far.
type newest struct {
	known     bool
	seq       uint16
	timestamp uint32
}

// unwrap takes the primary encoding out of a packet with redundancy, and keeps the others
// until restore. It is false if the packet cannot be read.
func (r *receiver) unwrap(in *section, p *rtp.Packet) bool {
	if len(p.Payload) == 0 { // padding, by which senders probe
		p.PayloadType = in.pt
		return true
	}
	var err error
	if r.blocks, err = red.Split(r.blocks[:0], p.Payload); err != nil {
		return false
	}
	primary := r.blocks[len(r.blocks)-1]
	if primary.PayloadType != in.pt {
		return false
	}
	p.PayloadType, p.Payload = in.pt, primary.Data
	r.blocks = r.blocks[:len(r.blocks)-1]
	return true
}

// restore writes the packets that were lost right ahead of p, as far as p brings them.
// Each block is one packet older than the next; that its timestamp lies between those of
// the packets that came confirms it.
func (r *receiver) restore(now time.Time, s *source, p *rtp.Packet, out *cdn.Arrivals) {
	before := s.newest
	if before.known && int16(p.SequenceNumber-before.seq) <= 0 {
		return // it is late itself
	}
	s.newest = newest{true, p.SequenceNumber, p.Timestamp}
	if !before.known {
		return
	}
	lost := min(int(p.SequenceNumber-before.seq)-1, len(r.blocks))
	for _, b := range r.blocks[len(r.blocks)-lost:] {
		at := p.Timestamp - b.Offset
		if b.PayloadType == s.section.pt && len(b.Data) > 0 && int32(at-before.timestamp) > 0 && int32(p.Timestamp-at) > 0 {
			one := rtp.Packet{Header: p.Header, Payload: b.Data}
			one.SequenceNumber, one.Timestamp, one.Marker = p.SequenceNumber-uint16(lost), at, false
			one.Extension, one.Extensions = false, nil
			r.stats.Restored++
			r.write(now, s.layer, &one, out)
		}
		lost--
	}
}
