package codec

// vp9Descriptor is the payload descriptor of RFC 9628 section 4.2.
type vp9Descriptor struct {
	predicted, begin bool
	spatial          byte
	id, tl0          int // offsets; 0: not present
	wide             bool
}

func parseVP9(p []byte) (d vp9Descriptor, ok bool) {
	if len(p) < 2 {
		return d, false
	}
	b, at := p[0], 1
	d.predicted, d.begin = b&0x40 != 0, b&0x08 != 0
	if b&0x80 != 0 { // I
		d.id, d.wide = at, p[at]&0x80 != 0
		at++
		if d.wide {
			at++
		}
	}
	if b&0x20 != 0 { // L
		if len(p) <= at {
			return d, false
		}
		d.spatial = p[at] >> 1 & 7
		at++
		if b&0x10 == 0 { // not flexible
			d.tl0 = at
			at++
		}
	}
	return d, at <= len(p)
}

// vp9: a picture that is not predicted from others begins with its base layer.
func vp9(p []byte) Info {
	d, ok := parseVP9(p)
	if !ok || !d.begin || d.spatial != 0 {
		return Info{}
	}
	return Info{FrameStart: true, Keyframe: !d.predicted}
}

func readVP9(p []byte) (out Picture, ok bool) {
	out = absent
	d, ok := parseVP9(p)
	if !ok {
		return out, false
	}
	if d.id != 0 {
		out.ID, out.Wide = readID(p[d.id:], d.wide), d.wide
	}
	if d.tl0 != 0 {
		out.TL0 = int16(p[d.tl0])
	}
	return out, d.id != 0 || d.tl0 != 0
}

func shiftVP9(p []byte, by Picture) {
	d, ok := parseVP9(p)
	if !ok {
		return
	}
	if d.id != 0 {
		writeID(p[d.id:], d.wide, readID(p[d.id:], d.wide)+by.ID)
	}
	if d.tl0 != 0 {
		p[d.tl0] += byte(by.TL0)
	}
}
