package codec

import "encoding/binary"

// A Descriptor is what the dependency descriptor header extension tells without
// the template structure (AV1 RTP specification, appendix A.8.1). Any codec may
// come with one.
type Descriptor struct {
	FrameStart, FrameEnd bool
	Template             uint8 // frame_dependency_template_id, 6 bits
	FrameNumber          uint16
	// Structure: the template structure is there, as it is with the first
	// packet of a keyframe.
	Structure bool
}

// ReadDescriptor reads the extension's data. It is false where they are cut
// off.
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

// ShiftFrameNumber adds to the frame number in place, modulo 2^16. References
// to other frames are relative, and stay right.
func ShiftFrameNumber(ext []byte, by uint16) {
	if len(ext) >= 3 {
		binary.BigEndian.PutUint16(ext[1:], binary.BigEndian.Uint16(ext[1:])+by)
	}
}
