package codec

// vp9Descriptor is the payload descriptor of RFC 9628 section 4.2, up to the
// layer indices.
type vp9Descriptor struct {
	places
	predicted bool // P: from other pictures
	begin     bool // B: a layer's frame begins
	plain     bool // it says no more than where frames begin and end
	structure bool // V: a scalability structure follows
	temporal  byte // TID
	upward    bool // U: a switching up point
	spatial   byte // SID
	dependent bool // D: predicted from the spatial layer below
	size      int  // without reference indices and scalability structure
}

// parseVP9 is false where the descriptor is cut off.
func parseVP9(p []byte) (d vp9Descriptor, ok bool) {
	if len(p) < 2 {
		return d, false
	}
	b := p[0]
	d.predicted, d.begin, d.plain, d.structure, d.size = b&0x40 != 0, b&0x08 != 0, b&0xb2 == 0, b&0x02 != 0, 1
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
		d.temporal, d.upward = p[d.size]>>5, p[d.size]&0x10 != 0
		d.spatial, d.dependent = p[d.size]>>1&7, p[d.size]&1 != 0
		d.size++
		if b&0x10 == 0 { // not flexible
			d.tl0 = d.size
			d.size++
		}
	}
	return d, d.size <= len(p)
}

// vp9: a frame begins with its base layer. A decoder can begin where neither the
// descriptor nor the frame's own header says that it needs another frame.
// Several packetizers never set the P bit (FFmpeg's, and pion's in flexible
// mode), so a header that can be read counts; what is encrypted end to end has
// none, and then the descriptor counts. An intra-only frame is no keyframe: those
// that follow it may refer to what came earlier.
func vp9(p []byte) Info {
	d, ok := parseVP9(p)
	if !ok || !d.begin || d.spatial != 0 || d.size >= len(p) {
		return Info{}
	}
	if d.predicted || d.dependent {
		return Info{FrameStart: true}
	}
	frame := p[d.size:]
	if d.structure {
		if frame = afterStructure(frame); frame == nil {
			return Info{}
		}
	}
	switch vp9Header(frame) {
	case vp9Key:
		return Info{FrameStart: true, Keyframe: true}
	case vp9Opaque:
		return Info{FrameStart: true, Keyframe: !d.plain}
	}
	return Info{FrameStart: true}
}

// afterStructure returns what follows a scalability structure (RFC 9628 section
// 4.2.1), nil if that is cut off or nothing follows.
func afterStructure(p []byte) []byte {
	n := 1
	if p[0]&0x10 != 0 { // Y: each layer's size
		n += 4 * (int(p[0]>>5) + 1)
	}
	if p[0]&0x08 != 0 { // G: a picture group
		if n >= len(p) {
			return nil
		}
		pictures := int(p[n])
		n++
		for range pictures {
			if n >= len(p) {
				return nil
			}
			n += 1 + int(p[n]>>2&3) // R references
		}
	}
	if n >= len(p) {
		return nil
	}
	return p[n:]
}

// What the uncompressed header of a VP9 frame shows.
const (
	vp9Opaque = iota // it is none
	vp9Key
	vp9Other // an inter or intra-only frame, or one that is shown again
)

// vp9Header reads the beginning of an uncompressed header (VP9 bitstream
// specification, section 6.2).
func vp9Header(p []byte) int {
	b := p[0]
	if b>>6 != 2 { // frame_marker
		return vp9Opaque
	}
	rest := b << 4      // show_existing_frame, frame_type, …
	if b&0x30 == 0x30 { // profile 3 has a reserved bit more
		if b&0x08 != 0 {
			return vp9Opaque
		}
		rest = b << 5
	}
	switch {
	case rest&0x80 != 0: // show_existing_frame: nothing but a number follows
		if len(p) > 2 {
			return vp9Opaque
		}
		return vp9Other
	case rest&0x40 != 0: // frame_type
		return vp9Other
	}
	return vp9KeyHeader(p, b&0x30 == 0x30)
}

// vp9KeyHeader looks for the sync code that follows a keyframe's first 8 bits, or
// 9 with profile 3.
func vp9KeyHeader(p []byte, profile3 bool) int {
	if len(p) < 4 {
		return vp9Opaque
	}
	code := uint32(p[1])<<16 | uint32(p[2])<<8 | uint32(p[3])
	if profile3 {
		if len(p) < 5 {
			return vp9Opaque
		}
		code = code<<1&0xffffff | uint32(p[4]>>7)
	}
	if code != 0x498342 {
		return vp9Opaque
	}
	return vp9Key
}

// temporalVP9: all spatial layers of a picture have the same TID.
func temporalVP9(p []byte) Temporal {
	d, ok := parseVP9(p)
	if !ok {
		return Temporal{}
	}
	return Temporal{Layer: d.temporal, Switch: d.upward}
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
