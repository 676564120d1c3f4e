package codec

// vp9Descriptor is the payload descriptor of RFC 9628 section 4.2, up to the
// layer indices.
type vp9Descriptor struct {
	places
	predicted bool // P: from other pictures
	begin     bool // B: a layer's frame begins
	plain     bool // it says no more than where frames begin and end
	spatial   byte // SID
	size      int  // without reference indices and scalability structure
}

// parseVP9 is false where the descriptor is cut off.
func parseVP9(p []byte) (d vp9Descriptor, ok bool) {
	if len(p) < 2 {
		return d, false
	}
	b := p[0]
	d.predicted, d.begin, d.plain, d.size = b&0x40 != 0, b&0x08 != 0, b&0xb2 == 0, 1
	if b&0x80 != 0 { // I
		d.id, d.wide = d.size, p[d.size]&0x80 != 0
		d.size++
		if d.wide {
			d.size++
		}
	}
	if b&0x20 != 0 { // L
		if len(p) <= d.size {
			return d, false
		}
		d.spatial = p[d.size] >> 1 & 7
		d.size++
		if b&0x10 == 0 { // not flexible
			d.tl0 = d.size
			d.size++
		}
	}
	return d, d.size <= len(p)
}

// vp9: a picture begins with its base layer, and a decoder can begin where that
// is not predicted from other pictures.
func vp9(p []byte) Info {
	d, ok := parseVP9(p)
	if !ok || !d.begin || d.spatial != 0 || d.size >= len(p) {
		return Info{}
	}
	inter := d.predicted || d.plain && vp9Inter(p[d.size])
	return Info{FrameStart: true, Keyframe: !inter}
}

// vp9Inter reports whether a frame's uncompressed header (VP9 bitstream
// specification, section 6.2) begins as that of any but a keyframe: FFmpeg's
// packetizer never sets the P bit, nor any bit but B and E. Other descriptors
// are believed, since the frame may be encrypted end to end.
func vp9Inter(b byte) bool {
	if b>>6 != 2 { // frame_marker
		return true
	}
	if b&0x30 == 0x30 { // profile 3 has one bit more
		return b&0x06 != 0
	}
	return b&0x0c != 0 // show_existing_frame, frame_type
}

func readVP9(p []byte) (Picture, bool) {
	d, ok := parseVP9(p)
	if !ok {
		return places{}.read(p)
	}
	return d.read(p)
}

func shiftVP9(p []byte, by Picture) {
	if d, ok := parseVP9(p); ok {
		d.shift(p, by)
	}
}
