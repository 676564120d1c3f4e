package send

import (
	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/rtp/codec"
)

// pictureIDs keeps a viewer's picture IDs in sequence across layers. The payload is
// shared, so it is copied where it has to be changed.
type pictureIDs struct {
	last      codec.Picture
	lastFrame uint16 // the dependency descriptor's frame number
	pending   bool   // a layer begins with the next descriptor
	buf       []byte
}

// descriptor returns the dependency descriptor to send for one of a source's.
func (st *pictureIDs) descriptor(src *source, data []byte, again bool) []byte {
	d, ok := codec.ReadDescriptor(data)
	if !ok {
		return data
	}
	if st.pending && !again {
		st.pending, src.frameShift = false, st.lastFrame+1-d.FrameNumber
	}
	if src.frameShift != 0 {
		st.buf = append(st.buf[:0], data...)
		data = st.buf
		codec.ShiftFrameNumber(data, src.frameShift)
	}
	if !again {
		st.lastFrame = d.FrameNumber + src.frameShift
	}
	return data
}

// switched sets the shift for a source, another layer, that begins with p.
func (st *pictureIDs) switched(s *Sender, src *source, p *cdn.Packet) {
	st.pending = s.descriptor != 0
	if s.pictures == nil {
		return
	}
	if first, ok := s.pictures.Read(p.Payload); ok {
		src.shift, src.shifted = codec.Between(st.last, first), true
	}
}

// pictureShift returns what is added to the picture IDs of a source's packet that is sent as
// number seq, and whether that is anything.
func (s *Sender) pictureShift(src *source, seq uint64) (by codec.Picture, moved bool) {
	if s.pictures == nil {
		return by, false
	}
	by, moved = src.shift, src.shifted
	if s.pictures.Counted {
		if left := s.numbers.Left(seq); left > 0 {
			by.ID, moved = by.ID-int32(left), true
		}
	}
	return by, moved
}

// apply returns the payload to send for p as number seq, and notes the picture IDs of the
// newest packet.
func (st *pictureIDs) apply(s *Sender, p *cdn.Packet, seq uint64, newest bool) []byte {
	payload := p.Payload
	layers := len(s.line.Track.Layers()) > 1
	if s.pictures == nil || s.rid != "" || !layers && !s.numbers.Cut() {
		return payload
	}
	if by, moved := s.pictureShift(s.feed.source, seq); moved {
		s.wire.scratch = append(s.wire.scratch[:0], payload...)
		payload = s.wire.scratch
		s.pictures.Shift(payload, by)
	}
	if !newest || !layers {
		return payload
	}
	if last, ok := s.pictures.Read(payload); ok {
		st.last = last
	}
	return payload
}
