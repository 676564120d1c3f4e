package codec

import "encoding/binary"

// A Descriptor is what the dependency descriptor header extension tells of a
// packet's frame (AV1 RTP specification, appendix A.8). Any codec may come with
// one. References to templates of an earlier structure are not followed.
type Descriptor struct {
	FrameStart, FrameEnd bool
	Template             uint8 // frame_dependency_template_id, 6 bits
	FrameNumber          uint16
	// Structure: a template structure is attached. Senders attach it to
	// keyframes, but may attach it to others as well.
	Structure bool
	// Independent: by the structure attached, the frame is of the base spatial
	// layer and depends on no other frame.
	Independent bool
	// Malformed: the structure attached is cut off, or has no such template.
	Malformed bool
}

// ReadDescriptor reads the extension's data. It is false where they are cut off
// ahead of the structure.
func ReadDescriptor(ext []byte) (Descriptor, bool) {
	if len(ext) < 3 {
		return Descriptor{}, false
	}
	d := Descriptor{
		FrameStart: ext[0]&0x80 != 0, FrameEnd: ext[0]&0x40 != 0, Template: ext[0] & 0x3f,
		FrameNumber: binary.BigEndian.Uint16(ext[1:]),
		Structure:   len(ext) > 3 && ext[3]&0x80 != 0,
	}
	if d.Structure {
		alone, ok := independent(ext[3:], d.Template)
		d.Independent, d.Malformed = alone && ok, !ok
	}
	return d, true
}

// independent reads the extended fields, which begin with an attached structure,
// as far as the dependencies of the frame of a template.
func independent(p []byte, template uint8) (alone, ok bool) {
	r := bits{p: p}
	r.read(1) // template_dependency_structure_present_flag
	active, dtis, fdiffs := r.flag(), r.flag(), r.flag()
	r.read(1) // custom_chains_flag
	offset := r.read(6)
	targets := r.read(5) + 1
	layers, spatial := r.templates()
	i := (int(template) + 64 - offset) % 64
	if i >= layers.count {
		return false, false
	}
	r.read(2 * targets * layers.count) // template_dtis
	depends := false
	for n := range layers.count {
		for r.flag() { // fdiff_follows_flag
			r.read(4)
			depends = depends || n == i
		}
	}
	if fdiffs {
		r.chains(targets, layers.count)
		if r.flag() { // resolutions_present_flag
			r.read(32 * (spatial + 1))
		}
		if active {
			r.read(targets)
		}
		if dtis {
			r.read(2 * targets)
		}
		depends = r.read(2) != 0 // next_fdiff_size
	}
	return !depends && layers.base(i), !r.short
}

// templates are the layers of a structure's templates: bit n of upper is set if
// template n is above the base spatial layer.
type templates struct {
	count    int
	upper    uint64
	temporal [maxTemplates]uint8
}

// maxTemplates is how many templates a structure may have.
const maxTemplates = 64

func (t templates) base(i int) bool { return t.upper>>i&1 == 0 }

// templates reads template_layers. It returns the highest spatial layer, too.
func (b *bits) templates() (t templates, spatial int) {
	temporal := uint8(0)
	for {
		if spatial > 0 {
			t.upper |= 1 << t.count
		}
		t.temporal[t.count] = temporal
		t.count++
		switch b.read(2) { // next_layer_idc
		case 1:
			temporal++
		case 2:
			temporal = 0
			spatial++
		case 3:
			return t, spatial
		}
		if b.short || t.count == maxTemplates || temporal >= TemporalLayers {
			b.short = true
			return t, spatial
		}
	}
}

// chains skips template_chains.
func (b *bits) chains(targets, templates int) {
	n := b.nonSymmetric(targets + 1)
	if n == 0 {
		return
	}
	for range targets {
		b.nonSymmetric(n) // decode_target_protected_by
	}
	b.read(4 * templates * n)
}

// bits reads numbers, the most significant bit first.
type bits struct {
	p     []byte
	at    int  // in bits
	short bool // more was read than there is
}

// read returns the next n bits; of more than 31 bits it skips, and returns 0.
func (b *bits) read(n int) (v int) {
	if b.short || n > 8*len(b.p)-b.at {
		b.short = true
		return 0
	}
	if n > 31 {
		b.at += n
		return 0
	}
	for range n {
		v = v<<1 | int(b.p[b.at/8]>>(7-b.at%8)&1)
		b.at++
	}
	return v
}

func (b *bits) flag() bool { return b.read(1) != 0 }

// nonSymmetric reads a number below n in as few bits as that takes (AV1
// bitstream specification, section 4.10.7).
func (b *bits) nonSymmetric(n int) int {
	w := 0
	for x := n; x != 0; x >>= 1 {
		w++
	}
	m := 1<<w - n
	v := b.read(w - 1)
	if v < m {
		return v
	}
	return v<<1 - m + b.read(1)
}

// ShiftFrameNumber adds to the frame number in place, modulo 2^16. References
// to other frames are relative, and stay right.
func ShiftFrameNumber(ext []byte, by uint16) {
	if len(ext) >= 3 {
		binary.BigEndian.PutUint16(ext[1:], binary.BigEndian.Uint16(ext[1:])+by)
	}
}
