package send

import (
	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/codec"
)

// pictureState keeps a viewer's picture identifiers in sequence across layers.
// The payload is shared, so it is copied where it has to be changed.
type pictureState struct {
	last      codec.Picture
	lastFrame uint16 // the dependency descriptor's frame number, likewise
	pending   bool   // a layer begins with the next descriptor
	buf       []byte
}

// descriptor returns the dependency descriptor to send in a run.
func (st *pictureState) descriptor(r *run, data []byte, again bool) []byte {
	d, ok := codec.ReadDescriptor(data)
	if !ok {
		return data
	}
	if st.pending && !again {
		st.pending, r.frameShift = false, st.lastFrame+1-d.FrameNumber
	}
	if r.frameShift != 0 {
		st.buf = append(st.buf[:0], data...)
		data = st.buf
		codec.ShiftFrameNumber(data, r.frameShift)
	}
	if !again {
		st.lastFrame = d.FrameNumber + r.frameShift
	}
	return data
}

// switched sets the shift for a run of another layer that begins with p.
func (st *pictureState) switched(s *Sender, r *run, p *cdn.Packet) {
	st.pending = s.descriptor != 0
	if s.pictures == nil {
		return
	}
	if first, ok := s.pictures.Read(p.Payload); ok {
		r.shift, r.moved = codec.Between(st.last, first), true
	}
}

// apply returns the payload to send, and notes the identifiers of the newest.
func (st *pictureState) apply(s *Sender, p *cdn.Packet, newest bool) []byte {
	payload := p.Payload
	if s.pictures == nil || len(s.track.Layers()) < 2 || s.rid != "" {
		return payload
	}
	if s.run.moved {
		s.scratch = append(s.scratch[:0], payload...)
		payload = s.scratch
		s.pictures.Shift(payload, s.run.shift)
	}
	if last, ok := s.pictures.Read(payload); ok && newest {
		st.last = last
	}
	return payload
}
