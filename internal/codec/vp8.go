package codec

// vp8Descriptor is the payload descriptor of RFC 7741 section 4.2, with the
// offsets of what can be rewritten; 0: not present.
type vp8Descriptor struct {
	start        bool
	partition    byte
	id, tl0, key int
	wide         bool
	size         int
}

func parseVP8(p []byte) (d vp8Descriptor, ok bool) {
	if len(p) < 1 {
		return d, false
	}
	d.start, d.partition, d.size = p[0]&0x10 != 0, p[0]&0x0f, 1
	if p[0]&0x80 == 0 {
		return d, true
	}
	if len(p) < 2 {
		return d, false
	}
	x := p[1]
	d.size = 2
	if x&0x80 != 0 { // I
		if len(p) <= d.size {
			return d, false
		}
		d.id, d.wide = d.size, p[d.size]&0x80 != 0
		d.size++
		if d.wide {
			d.size++
		}
	}
	if x&0x40 != 0 { // L
		d.tl0 = d.size
		d.size++
	}
	if x&0x30 != 0 { // T or K
		if x&0x10 != 0 {
			d.key = d.size
		}
		d.size++
	}
	return d, d.size <= len(p)
}

// vp8: a keyframe's first partition begins with a payload header whose P bit
// is 0 (RFC 7741 section 4.3).
func vp8(p []byte) Info {
	d, ok := parseVP8(p)
	if !ok || !d.start || d.partition != 0 || d.size >= len(p) {
		return Info{}
	}
	return Info{FrameStart: true, Keyframe: p[d.size]&1 == 0}
}

func readVP8(p []byte) (out Picture, ok bool) {
	out = absent
	d, ok := parseVP8(p)
	if !ok {
		return out, false
	}
	if d.id != 0 {
		out.ID, out.Wide = readID(p[d.id:], d.wide), d.wide
	}
	if d.tl0 != 0 {
		out.TL0 = int16(p[d.tl0])
	}
	if d.key != 0 {
		out.KeyIdx = int16(p[d.key] & 0x1f)
	}
	return out, d.id != 0 || d.tl0 != 0 || d.key != 0
}

func shiftVP8(p []byte, by Picture) {
	d, ok := parseVP8(p)
	if !ok {
		return
	}
	if d.id != 0 {
		writeID(p[d.id:], d.wide, readID(p[d.id:], d.wide)+by.ID)
	}
	if d.tl0 != 0 {
		p[d.tl0] += byte(by.TL0)
	}
	if d.key != 0 {
		p[d.key] = p[d.key]&0xe0 | (p[d.key]+byte(by.KeyIdx))&0x1f
	}
}
