package codec

// vp8Descriptor is the payload descriptor of RFC 7741 section 4.2.
type vp8Descriptor struct {
	places
	start     bool // S: a partition begins
	partition byte // PID
	temporal  byte // TID
	sync      bool // Y
	size      int
}

// parseVP8 is false where the descriptor is cut off.
func parseVP8(p []byte) (d vp8Descriptor, ok bool) {
	if len(p) < 1 {
		return d, false
	}
	// The bit above the three of PID is reserved, and to be ignored.
	d.start, d.partition, d.size = p[0]&0x10 != 0, p[0]&0x07, 1
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
		if x&0x20 != 0 && d.size < len(p) {
			d.temporal, d.sync = p[d.size]>>6, p[d.size]&0x20 != 0
		}
		d.size++
	}
	return d, d.size <= len(p)
}

// vp8: a frame begins with its first partition. In a keyframe the P bit of the
// frame tag is 0, and a start code follows the tag (RFC 6386 section 9.1). The P
// bit alone is no proof: the payload may be encrypted end to end.
func vp8(p []byte) Info {
	d, ok := parseVP8(p)
	if !ok || !d.start || d.partition != 0 || d.size >= len(p) {
		return Info{}
	}
	frame := p[d.size:]
	if frame[0]&1 != 0 {
		return Info{FrameStart: true}
	}
	proved := len(frame) >= 6 && frame[3] == 0x9d && frame[4] == 0x01 && frame[5] == 0x2a
	return Info{FrameStart: true, Keyframe: true, Unproved: !proved}
}

// temporalVP8: the Y bit says that a frame depends on the base layer's last frame
// alone, and that no later frame depends on what came of other layers before that.
func temporalVP8(p []byte) Temporal {
	d, ok := parseVP8(p)
	if !ok {
		return Temporal{}
	}
	return Temporal{Layer: d.temporal, Sync: d.sync && d.temporal > 0}
}

func readVP8(p []byte) (Picture, bool) {
	d, ok := parseVP8(p)
	if !ok {
		return places{}.read(p)
	}
	return d.read(p)
}

func shiftVP8(p []byte, by Picture) {
	if d, ok := parseVP8(p); ok {
		d.shift(p, by)
	}
}
