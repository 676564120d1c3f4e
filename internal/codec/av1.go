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

// av1: the aggregation header's N bit marks the first packet of a coded video
// sequence, and Z one that goes on with an OBU (AV1 RTP specification,
// section 4.4). Both cannot be.
func av1(p []byte) Info {
	if len(p) < 2 || p[0]&0x80 != 0 {
		return Info{}
	}
	first := p[1:]
	if p[0]&0x30 != 0x10 { // W: other than a single OBU element has a length
		n, size := binary.Uvarint(first) // as leb128
		if size <= 0 || n == 0 || n > uint64(len(first)-size) {
			return Info{}
		}
		first = first[size:]
	}
	sequence := p[0]&0x08 != 0
	return Info{Keyframe: sequence, FrameStart: sequence || startsUnit(first)}
}

// startsUnit reports whether a temporal unit can begin with the OBU: a frame of
// the base layer, or what stands before one.
func startsUnit(obu []byte) bool {
	switch obu[0] >> 3 & 0x0f {
	case obuSequenceHeader, obuTemporalDelimiter:
		return true
	case obuFrameHeader, obuFrame:
		if obu[0]&0x04 == 0 { // no extension
			return len(obu) > 1
		}
		return len(obu) > 2 && obu[1]&0x18 == 0 // spatial_id
	}
	return false
}
