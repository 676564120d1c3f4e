package codec

import (
	"encoding/binary"
	"strings"
)

// maxHeight is the largest height that is accepted, in pixels.
const maxHeight = 1 << 14

// Height returns the height of the picture, in pixels, by a payload that [Info] says begins a
// keyframe or has a sequence's parameter set: that of the highest spatial layer. It is 0 where
// the payload does not tell.
func Height(mime string, p []byte) (height int) {
	switch strings.ToLower(mime) {
	case "video/vp8":
		height = heightVP8(p)
	case "video/vp9":
		height = heightVP9(p)
	case "video/h264":
		height = heightH264(p)
	case "video/h265":
		height = heightH265(p)
	case "video/av1":
		height = heightAV1(p)
	}
	if height < 0 || height > maxHeight {
		return 0
	}
	return height
}

// heightVP8 reads a keyframe's header (RFC 6386 section 9.1).
func heightVP8(p []byte) int {
	d, ok := parseVP8(p)
	if !ok || !vp8(p).Keyframe || len(p) < d.size+10 {
		return 0
	}
	return int(binary.LittleEndian.Uint16(p[d.size+8:]) & 0x3fff)
}

// heightVP9 reads the scalability structure (RFC 9628 section 4.2.1), or else the keyframe's
// own header (VP9 bitstream specification, section 6.2).
func heightVP9(p []byte) int {
	d, ok := parseVP9(p)
	if !ok || !vp9(p).Keyframe || d.size >= len(p) {
		return 0
	}
	frame := p[d.size:]
	if d.structure {
		if layers := int(frame[0]>>5) + 1; frame[0]&0x10 != 0 && len(frame) > 4*layers {
			return int(binary.BigEndian.Uint16(frame[4*layers-1:]))
		}
		if frame = afterStructure(frame); frame == nil {
			return 0
		}
	}
	r := bits{p: frame}
	r.read(2)                     // frame_marker
	profile := r.read(1)          // profile_low_bit
	profile |= r.read(1) << 1     // profile_high_bit
	r.read(profile/3 + 2 + 1 + 1) // reserved_zero, show_existing_frame and frame_type, show_frame, error_resilient_mode
	if r.read(24) != 0x498342 {
		return 0
	}
	if profile >= 2 {
		r.read(1) // bit depth
	}
	const rgb = 7
	if r.read(3) != rgb { // color_space
		r.read(1) // color_range
		r.read(profile % 2 * 2)
	}
	r.read(profile % 2) // reserved_zero
	r.read(16)          // frame_width_minus_1
	height := r.read(16) + 1
	if r.short {
		return 0
	}
	return height
}

// heightAV1 reads a sequence header (AV1 bitstream specification, section 5.5).
func heightAV1(p []byte) int {
	if len(p) < 2 || p[0]&0x80 != 0 {
		return 0
	}
	elements := obuElements{rest: p[1:], count: int(p[0] >> 4 & 3)}
	for {
		obu, ok := elements.next()
		if !ok {
			return 0
		}
		if kind, body := readOBU(obu); kind == obuSequenceHeader {
			return sequenceHeight(body)
		}
	}
}

func sequenceHeight(body []byte) int {
	r := bits{p: body}
	r.read(3 + 1)  // seq_profile, still_picture
	if !r.flag() { // reduced_still_picture_header
		r.operatingPoints()
	} else {
		r.read(5) // seq_level_idx
	}
	w, h := r.read(4)+1, r.read(4)+1
	r.read(w)
	height := r.read(h) + 1
	if r.short {
		return 0
	}
	return height
}

// operatingPoints skips what a sequence header has ahead of the size of frames.
func (b *bits) operatingPoints() {
	model, delay := false, 0
	if b.flag() { // timing_info_present_flag
		b.read(32)
		b.read(32)
		if b.flag() { // equal_picture_interval
			b.golomb()
		}
		if model = b.flag(); model {
			delay = b.read(5) + 1
			b.read(32)
			b.read(5 + 5)
		}
	}
	initial := b.flag() // initial_display_delay_present_flag
	for range b.read(5) + 1 {
		b.read(12)
		if b.read(5) > 7 { // seq_level_idx
			b.read(1)
		}
		if model && b.flag() {
			b.read(delay)
			b.read(delay)
			b.read(1)
		}
		if initial && b.flag() {
			b.read(4)
		}
		if b.short {
			return
		}
	}
}

// golomb reads a number in Exp-Golomb code (H.264 section 9.1), which AV1 calls uvlc.
func (b *bits) golomb() int {
	zeros := 0
	for !b.flag() {
		if zeros++; b.short || zeros > 30 {
			b.short = true
			return 0
		}
	}
	return 1<<zeros - 1 + b.read(zeros)
}

// unit returns the first NAL unit of a type in a payload that is a single one or an
// aggregation packet, without emulation prevention (H.264 section 7.4.1); nil: there is none.
func unit(p []byte, header int, aggregation byte, kindOf func(byte) byte, kind byte) []byte {
	if len(p) < header {
		return nil
	}
	if kindOf(p[0]) == kind {
		return raw(p)
	}
	if kindOf(p[0]) != aggregation {
		return nil
	}
	for p = p[header:]; len(p) > 2; {
		n := int(binary.BigEndian.Uint16(p))
		if n < 1 || n > len(p)-2 {
			return nil
		}
		if kindOf(p[2]) == kind {
			return raw(p[2 : 2+n])
		}
		p = p[2+n:]
	}
	return nil
}

// raw returns a NAL unit without its emulation prevention bytes.
func raw(nal []byte) []byte {
	out, zeros := make([]byte, 0, len(nal)), 0
	for _, b := range nal {
		if zeros >= 2 && b == 3 {
			zeros = 0
			continue
		}
		if zeros++; b != 0 {
			zeros = 0
		}
		out = append(out, b)
	}
	return out
}
