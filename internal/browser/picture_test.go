package browser

import "math/bits"

// A painter makes H.264 pictures of 8 x 4 macroblocks that are black or white
// and so show 32 bits, without a loss (I_PCM): whoever sees one can read when
// it was made. Any picture can be a keyframe.
type painter struct {
	shown  uint32
	number int // since the keyframe
	idr    int
}

const (
	wide, high = 8, 4
	// What a decoder has to know beforehand: H.264 sections 7.3.2.1 and 7.3.2.2,
	// constrained baseline, no reordering.
	frameNumBits = 8
)

// picture returns an access unit that shows stamp, in Annex B format.
func (p *painter) picture(stamp uint32, key bool) (unit []byte) {
	changed := p.shown ^ stamp
	if key {
		p.number, changed = 0, 1<<32-1
		p.idr++
		unit = append(unit, parameterSets()...)
	} else {
		p.number++
	}
	p.shown = stamp

	var w bitWriter // section 7.3.3
	w.ue(0)         // first_mb_in_slice
	if key {
		w.ue(7) // I
	} else {
		w.ue(5) // P
	}
	w.ue(0) // PPS
	w.u(frameNumBits, uint32(p.number)%(1<<frameNumBits))
	if key {
		w.ue(uint32(p.idr % 2))
		w.u(2, 0) // dec_ref_pic_marking
	} else {
		w.u(1, 0) // as many references as the PPS says
		w.u(1, 0) // in their order
		w.u(1, 0) // dec_ref_pic_marking
	}
	w.ue(0) // slice_qp_delta
	w.ue(1) // no deblocking
	skipped := uint32(0)
	for i := range wide * high {
		if changed>>i&1 == 0 {
			skipped++
			continue
		}
		kind := uint32(25) // I_PCM
		if !key {
			w.ue(skipped)
			skipped = 0
			kind += 5
		}
		w.ue(kind)
		w.align()
		luma := byte(16)
		if stamp>>i&1 == 1 {
			luma = 235
		}
		for range 256 {
			w.u(8, uint32(luma))
		}
		for range 128 {
			w.u(8, 128)
		}
	}
	if skipped > 0 {
		w.ue(skipped)
	}
	header := byte(0x41) // a slice that others refer to
	if key {
		header = 0x65
	}
	return append(unit, nal(header, w.trailing())...)
}

func parameterSets() []byte {
	var sps, pps bitWriter
	sps.u(24, 0x42c01f)
	sps.ue(0)
	sps.ue(frameNumBits - 4)
	sps.ue(2) // pictures come in the order in which they are shown
	sps.ue(1) // reference
	sps.u(1, 0)
	sps.ue(wide - 1)
	sps.ue(high - 1)
	sps.u(1, 1) // frames
	sps.u(1, 1)
	sps.u(2, 0) // neither cropping nor VUI

	pps.ue(0)
	pps.ue(0)
	pps.u(2, 0) // CAVLC
	pps.ue(0)   // one slice group
	pps.ue(0)
	pps.ue(0)
	pps.u(3, 0)
	pps.ue(0)
	pps.ue(0)
	pps.ue(0)
	pps.u(3, 0b100) // the slices say whether to deblock
	return append(nal(0x67, sps.trailing()), nal(0x68, pps.trailing())...)
}

// nal returns a NAL unit (section 7.3.1) with its start code.
func nal(header byte, rbsp []byte) []byte {
	out, zeros := []byte{0, 0, 0, 1, header}, 0
	for _, b := range rbsp {
		if zeros == 2 && b <= 3 {
			out, zeros = append(out, 3), 0
		}
		out = append(out, b)
		if zeros++; b != 0 {
			zeros = 0
		}
	}
	return out
}

// A bitWriter writes the bits of a raw byte sequence payload.
type bitWriter struct {
	bytes []byte
	free  int // bits of the last byte
}

func (w *bitWriter) u(n int, v uint32) {
	for n--; n >= 0; n-- {
		if w.free == 0 {
			w.bytes, w.free = append(w.bytes, 0), 8
		}
		w.free--
		w.bytes[len(w.bytes)-1] |= byte(v>>n&1) << w.free
	}
}

// ue writes an Exp-Golomb code (section 9.1).
func (w *bitWriter) ue(v uint32) {
	n := bits.Len32(v + 1)
	w.u(n-1, 0)
	w.u(n, v+1)
}

func (w *bitWriter) align() { w.free = 0 }

func (w *bitWriter) trailing() []byte {
	w.u(1, 1)
	return w.bytes
}

// stamp is a time in milliseconds, with a check.
func stamp(ms uint32) uint32 {
	ms &= 1<<24 - 1
	return ms | (ms>>16^ms>>8&0xff^ms&0xff^0x5a)<<24
}
