package codec

import "encoding/binary"

// av1: the aggregation header's N bit marks the first packet of a coded video
// sequence, and Z one that goes on with an OBU (AV1 RTP specification,
// section 4.4).
func av1(p []byte) Info {
	if len(p) < 2 {
		return Info{}
	}
	fresh := p[0]&0x80 == 0
	return Info{FrameStart: fresh && p[0]&0x08 != 0, Keyframe: fresh && p[0]&0x08 != 0}
}

// A Descriptor is the mandatory part of the dependency descriptor header
// extension (AV1 RTP specification, appendix A.2).
type Descriptor struct {
	FrameStart, FrameEnd bool
	Template             uint8
	FrameNumber          uint16
	// Structure: the template structure is there, as it is with keyframes.
	Structure bool
}

// ReadDescriptor reads the extension's data.
func ReadDescriptor(ext []byte) (Descriptor, bool) {
	if len(ext) < 3 {
		return Descriptor{}, false
	}
	return Descriptor{
		FrameStart: ext[0]&0x80 != 0, FrameEnd: ext[0]&0x40 != 0, Template: ext[0] & 0x3f,
		FrameNumber: binary.BigEndian.Uint16(ext[1:]),
		Structure:   len(ext) > 3 && ext[3]&0x80 != 0,
	}, true
}

// ShiftFrameNumber adds to the frame number in place.
func ShiftFrameNumber(ext []byte, by uint16) {
	if len(ext) >= 3 {
		binary.BigEndian.PutUint16(ext[1:], binary.BigEndian.Uint16(ext[1:])+by)
	}
}
