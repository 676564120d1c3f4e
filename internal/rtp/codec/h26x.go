package codec

import "encoding/binary"

// NAL unit types of H.264 (RFC 6184 section 5.2, H.264 table 7-1).
const (
	h264Slice      = 1
	h264PartitionA = 2
	h264IDR        = 5
	h264SPS        = 7
	h264PPS        = 8
	h264AUD        = 9
	h264STAPA      = 24
	h264FUA        = 28
)

// h264: a decoder can begin at the first slice of an IDR picture, and nowhere
// else. Parameter sets may come without one. The packets of interleaved mode are
// unknown: browsers do not take it.
func h264(p []byte) Info {
	if len(p) < 2 {
		return Info{}
	}
	switch kind := p[0] & 0x1f; kind {
	case h264STAPA:
		return aggregate(p[1:], h264Unit)
	case h264FUA:
		if p[1]&0x80 == 0 { // S
			return Info{}
		}
		info := h264NAL(p[1]&0x1f, p[2:])
		info.Mixed = info.Parameters != 0 // the rest is in other packets
		return info
	default:
		return h264NAL(kind, p[1:])
	}
}

func h264Unit(nal []byte) Info { return h264NAL(nal[0]&0x1f, nal[1:]) }

// h264NAL tells what a NAL unit of this type is by what follows its header.
func h264NAL(kind byte, rest []byte) Info {
	if len(rest) == 0 {
		return Info{}
	}
	// first_mb_in_slice is 0 where its Exp-Golomb code is the single bit 1.
	first := rest[0]&0x80 != 0
	switch kind {
	case h264SPS:
		return Info{FrameStart: true, Parameters: SequenceSet}
	case h264PPS:
		return Info{Parameters: PictureSet}
	case h264IDR:
		return Info{FrameStart: first, Keyframe: first}
	case h264AUD:
		return Info{FrameStart: true}
	case h264Slice, h264PartitionA:
		return Info{FrameStart: first}
	}
	return Info{}
}

// NAL unit types of H.265 (RFC 7798 section 4.4, H.265 table 7-1). Those below
// the first IRAP type are slices of other pictures.
const (
	h265FirstIRAP = 16 // BLA_W_LP
	h265LastIRAP  = 21 // CRA_NUT
	h265VPS       = 32
	h265SPS       = 33
	h265PPS       = 34
	h265AUD       = 35
	h265AP        = 48
	h265FU        = 49
)

// h265 is as h264: a decoder can begin at an IRAP picture (IDR, BLA or CRA), and
// drops what follows a CRA or BLA picture but refers to pictures ahead of it
// (RASL, H.265 section 8.1.3). Layers above the base layer may be predicted from
// it. Decoding order numbers, which would have to be negotiated by
// sprop-max-don-diff, are taken for absent.
func h265(p []byte) Info {
	if len(p) < 3 {
		return Info{}
	}
	switch kind := p[0] >> 1 & 0x3f; kind {
	case h265AP:
		return aggregate(p[2:], h265Unit)
	case h265FU:
		if p[2]&0x80 == 0 || !h265Base(p) { // S
			return Info{}
		}
		info := h265NAL(p[2]&0x3f, p[3:])
		info.Mixed = info.Parameters != 0 // the rest is in other packets
		return info
	default:
		return h265Unit(p)
	}
}

// h265Base reports whether a NAL unit header has nuh_layer_id 0.
func h265Base(nal []byte) bool { return nal[0]&1 == 0 && nal[1]>>3 == 0 }

func h265Unit(nal []byte) Info {
	if len(nal) < 2 || !h265Base(nal) {
		return Info{}
	}
	return h265NAL(nal[0]>>1&0x3f, nal[2:])
}

// h265NAL tells what a NAL unit of this type is by what follows its header.
func h265NAL(kind byte, rest []byte) Info {
	if len(rest) == 0 {
		return Info{}
	}
	first := rest[0]&0x80 != 0 // first_slice_segment_in_pic_flag
	switch {
	case kind == h265VPS:
		return Info{FrameStart: true, Parameters: VideoSet}
	case kind == h265SPS:
		return Info{FrameStart: true, Parameters: SequenceSet}
	case kind == h265PPS:
		return Info{Parameters: PictureSet}
	case kind >= h265FirstIRAP && kind <= h265LastIRAP:
		return Info{FrameStart: first, Keyframe: first}
	case kind == h265AUD:
		return Info{FrameStart: true}
	case kind < h265FirstIRAP:
		return Info{FrameStart: first}
	}
	return Info{}
}

// aggregate looks into each NAL unit of an aggregation packet: 16 bits of
// length ahead of each. Receivers drop a packet whose lengths do not add up, so
// nothing begins with it.
func aggregate(p []byte, look func(nal []byte) Info) (all Info) {
	other := false
	for len(p) > 0 {
		if len(p) < 2 {
			return Info{}
		}
		n := int(binary.BigEndian.Uint16(p))
		p = p[2:]
		if n < 1 || n > len(p) {
			return Info{}
		}
		info := look(p[:n])
		all.Keyframe = all.Keyframe || info.Keyframe
		all.FrameStart = all.FrameStart || info.FrameStart
		all.Parameters |= info.Parameters
		other = other || info.Parameters == 0
		p = p[n:]
	}
	all.Mixed = other && all.Parameters != 0
	return all
}
