package codec

import "encoding/binary"

// OBU types with which the packets of a temporal unit begin (AV1 bitstream
// specification, section 6.2.2). A temporal delimiter should not be sent.
const (
	obuSequenceHeader    = 1
	obuTemporalDelimiter = 2
	obuFrameHeader       = 3
	obuFrame             = 6
)

// av1: a decoder can begin at a shown key frame. The aggregation header's N bit,
// which marks the first packet of a coded video sequence (AV1 RTP specification,
// section 4.4), is not looked at: the frame header says what the frame is. A
// packet with the Z bit goes on with an OBU of the one before it.
func av1(p []byte) (info Info) {
	if len(p) < 2 || p[0]&0x80 != 0 {
		return Info{}
	}
	reduced := false // of a sequence header: all frames are shown key frames
	other := false
	elements := obuElements{rest: p[1:], count: int(p[0] >> 4 & 3)}
	for i := 0; ; i++ {
		obu, ok := elements.next()
		if !ok {
			break
		}
		kind, body := readOBU(obu)
		if i == 0 {
			info.FrameStart = startsUnit(kind, obu, body)
		}
		switch kind {
		case obuSequenceHeader:
			info.Parameters = SequenceSet
			reduced = len(body) > 0 && body[0]&0x08 != 0
			continue
		case obuFrameHeader, obuFrame:
			// show_existing_frame 0, frame_type KEY_FRAME, show_frame 1
			shown := reduced || len(body) > 0 && body[0]>>4 == 1
			info.Keyframe = info.FrameStart && shown && baseLayer(obu)
			info.Mixed = info.Parameters != 0
			return info
		}
		other = other || kind != obuTemporalDelimiter
	}
	if elements.broken {
		return Info{}
	}
	info.Mixed = info.Parameters != 0 && (other || p[0]&0x40 != 0)
	return info
}

// obuElements reads the OBU elements of a packet. All but the last of count have
// a length ahead of them; where count is 0, all have (AV1 RTP specification,
// section 4.3).
type obuElements struct {
	rest   []byte
	count  int
	read   int
	broken bool // a length does not fit
}

func (e *obuElements) next() (obu []byte, ok bool) {
	if e.broken || len(e.rest) == 0 || e.count != 0 && e.read == e.count {
		return nil, false
	}
	e.read++
	if e.read == e.count {
		return e.rest, true
	}
	n, size := binary.Uvarint(e.rest) // as leb128
	if size <= 0 || n == 0 || n > uint64(len(e.rest)-size) {
		e.broken = true
		return nil, false
	}
	obu, e.rest = e.rest[size:size+int(n)], e.rest[size+int(n):]
	return obu, true
}

// readOBU returns an OBU's type and what follows its header. The body is nil
// where the header is cut off.
func readOBU(obu []byte) (kind byte, body []byte) {
	kind = obu[0] >> 3 & 0x0f
	n := 1
	if obu[0]&0x04 != 0 { // extension
		n++
	}
	if n > len(obu) {
		return kind, nil
	}
	if obu[0]&0x02 != 0 { // obu_has_size_field
		_, size := binary.Uvarint(obu[n:])
		if size <= 0 {
			return kind, nil
		}
		n += size
	}
	return kind, obu[n:]
}

// baseLayer reports whether an OBU has spatial_id 0.
func baseLayer(obu []byte) bool {
	return obu[0]&0x04 == 0 || len(obu) > 1 && obu[1]&0x18 == 0
}

// startsUnit reports whether a temporal unit can begin with the OBU: a frame of
// the base layer, or what stands ahead of one.
func startsUnit(kind byte, obu, body []byte) bool {
	switch kind {
	case obuSequenceHeader, obuTemporalDelimiter:
		return true
	case obuFrameHeader, obuFrame:
		return len(body) > 0 && baseLayer(obu)
	}
	return false
}
