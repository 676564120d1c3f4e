package send

import (
	"slices"

	"github.com/deltacdn/delta/internal/sdp"
	"github.com/deltacdn/delta/internal/send/redundancy"
)

// An RTPWriter sends packets: the header as it is on the wire, and the payload. It must
// not keep them, and returns the length of the packet that was sent, in bytes.
type RTPWriter interface {
	WriteRTP(header, payload []byte) (n int, err error)
}

// Output is where and how a Sender's packets go, as negotiated.
type Output struct {
	To   RTPWriter
	SSRC uint32
	RTX  uint32 // SSRC of retransmissions; 0: they go out as they were
	// Mid is written with the first packets, and each one of a sender that has a
	// RID. If empty, it is the line's.
	Mid string
	// Extensions has the id of each header extension that the receiver takes,
	// by URI.
	Extensions map[string]uint8

	mid, delay, rid, number, time uint8 // ids out of Extensions; 0: not taken
}

// wire is how the receiver wants packets, and the one that is sent.
type wire struct {
	header       []byte
	buffer       [64]byte        // of most headers
	named        uint64          // from this number on packets have no mid; 0: not known yet
	pt           uint8           // the line's payload type
	red          uint8           // that of the blocks, if pt is that of RED; 0: it is not
	need         redundancy.Need // while that decides
	wasRedundant bool            // packets were sent with redundancy: sent again, they might have other bytes
	wide         bool            // some extensions have ids above 14, which only the two-byte form has
	delays       bool            // delay is written
	delay        [3]byte
	// stamped: packets are stamped, or will be.
	stamped bool
	stamp   stamp     // of the packet that is sent
	ids     [16]uint8 // of the track's extensions, as negotiated
	out     Output
	more    []uint8 // ids of extensions that are not in ids; nil: there are none

	scratch []byte // a payload that had to be changed
}

// Bind tells the sender where its packets go.
func (s *Sender) Bind(o Output) {
	s.set.change()
	defer s.set.mu.Unlock()
	w := &s.wire
	o.mid, o.delay, o.rid = o.Extensions[uriMid], o.Extensions[uriPlayoutDelay], o.Extensions[uriRid]
	o.number, o.time = o.Extensions[sdp.URITransportCC], o.Extensions[sdp.URIAbsSendTime]
	w.stamp, w.stamped = stamp{}, o.number != 0 || o.time != 0
	w.more = nil
	for i, uri := range s.line.Track.Info().Extensions {
		id := o.Extensions[uri]
		if !sdp.TravelsOn(uri) {
			id = 0
		}
		w.setID(i+1, id)
	}
	if o.Mid == "" {
		o.Mid = s.line.Mid
	}
	w.wide = max(o.mid, o.delay, o.rid, o.number, o.time, slices.Max(w.ids[:]), slices.Max(append(w.more, 0))) > 14
	o.Extensions = nil // they are read
	w.header, w.out = w.buffer[:0], o
	s.bindRedundancy()
	s.bindPlayout()
}

// setID sets the receiver's id for the track's extension ours. Those below are set already.
func (w *wire) setID(ours int, id uint8) {
	switch i := ours - len(w.ids); {
	case i < 0:
		w.ids[ours] = id
	case i < len(w.more):
		w.more[i] = id
	default:
		w.more = append(w.more, id)
	}
}

// id returns the receiver's id for an extension of the track, 0 if it takes none.
func (w *wire) id(ours uint8) uint8 {
	if int(ours) < len(w.ids) {
		return w.ids[ours]
	}
	if i := int(ours) - len(w.ids); i < len(w.more) {
		return w.more[i]
	}
	return 0
}

// repeats reports whether a packet can be sent again: by RTX, or because it would have the
// same bytes. With redundancy it might not: the packet ahead of it may be gone, or have come.
func (w *wire) repeats() bool { return !w.wasRedundant && (w.out.RTX != 0 || !w.stamped) }

// Unbind says that nothing can be sent any more.
func (s *Sender) Unbind() {
	s.set.change()
	defer s.set.mu.Unlock()
	s.wire.out.To = nil
}

// write sends the header that was filled in and payload, and returns their length in
// bytes, as sent.
func (s *Sender) write(payload []byte) (int, error) {
	to := s.wire.out.To
	if s.set.to != nil {
		to = s.set.to
	}
	return to.WriteRTP(s.wire.header, payload)
}
