package send

import (
	"time"

	"github.com/pion/rtp"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/codec"
)

const (
	twoByteProfile = 0x1000 // RFC 8285 section 4.3
	oneByteProfile = 0xBEDE // RFC 8285 section 4.2
)

// fill makes the header for p of a run, which is sent for the first time or
// again. The header is used again for each packet, so that nothing is allocated.
func (s *Sender) fill(p *cdn.Packet, r *run, seq uint16, ts uint32, again bool) {
	h := &s.header
	*h = rtp.Header{
		Version: 2, Marker: p.Marker, PayloadType: s.line.PT,
		SequenceNumber: seq, Timestamp: ts, SSRC: s.out.SSRC, Extensions: h.Extensions[:0],
	}
	h.ExtensionProfile = oneByteProfile
	if s.wide || needsTwoBytes(p.Extensions) {
		h.ExtensionProfile = twoByteProfile
	}
	for block := p.Extensions; len(block) >= 2 && len(block) >= 2+int(block[1]); block = block[2+int(block[1]):] {
		id, data := s.ids[block[0]&15], block[2:2+int(block[1])]
		if block[0] == s.descriptor {
			data = s.picture.descriptor(r, data, again)
		}
		if id != 0 && (id != s.out.delay || s.set.config.Playout == nil) {
			s.extend(id, data)
		}
	}
	if d := s.set.config.Playout; d != nil && s.video && s.out.delay != 0 {
		b := d.bytes()
		s.extend(s.out.delay, b[:])
	}
	if s.rid != "" { // layers are told apart by these (RFC 8853)
		s.extend(s.out.mid, []byte(s.out.Mid))
		s.extend(s.out.rid, []byte(s.rid))
	}
}

func (s *Sender) extend(id uint8, data []byte) {
	if id == 0 || len(data) == 0 {
		return
	}
	s.header.Extension = true
	_ = s.header.SetExtension(id, data) // one that has no room is left out
}

// needsTwoBytes reports whether an extension is too long for the short form.
func needsTwoBytes(block []byte) bool {
	for ; len(block) >= 2 && len(block) >= 2+int(block[1]); block = block[2+int(block[1]):] {
		if block[1] > 16 || block[1] == 0 {
			return true
		}
	}
	return false
}

// bytes is the playout-delay extension: 12 bits each, in units of 10 ms.
func (d PlayoutDelay) bytes() [3]byte {
	const most = 1<<12 - 1
	lo := min(max(d.Min/(10*time.Millisecond), 0), most)
	hi := min(max(d.Max/(10*time.Millisecond), 0), most)
	return [3]byte{byte(lo >> 4), byte(lo<<4) | byte(hi>>8), byte(hi)}
}

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
	if n := d.FrameNumber + r.frameShift; !again && (int16(n-st.lastFrame) > 0 || st.lastFrame == 0) {
		st.lastFrame = n
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
	if s.pictures == nil || len(s.line.Track.Layers()) < 2 || s.rid != "" {
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
