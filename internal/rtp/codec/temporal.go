package codec

import (
	"encoding/binary"
	"strings"
)

// TemporalLayers is how many temporal layers a stream may have: their index has
// three bits in every codec.
const TemporalLayers = 8

// A Temporal is the place of a payload's frame among the temporal layers. The zero
// Temporal is that of a frame of the base layer, and of one whose layer is not known.
type Temporal struct {
	// Layer is the temporal layer, from 0. No frame refers to one of a higher layer.
	Layer uint8
	// Sync: neither the frame nor any that follows refers to an earlier frame of its
	// layer or a higher one. A decoder that has had the layers below can go on with
	// this one, too, from the frame on.
	Sync bool
	// Switch: no later frame of a higher layer refers to an earlier frame of a higher
	// layer. A decoder that has had the layers up to this one can go on with all
	// layers after the frame.
	Switch bool
}

// TemporalFor returns what reads the temporal layer of one codec's payloads, by MIME
// type without regard to case; nil where payloads do not tell. AV1 has it in the
// dependency descriptor: see [Structure].
func TemporalFor(mime string) func(payload []byte) Temporal {
	switch strings.ToLower(mime) {
	case "video/vp8":
		return temporalVP8
	case "video/vp9":
		return temporalVP9
	case "video/h264":
		return temporalH264
	case "video/h265":
		return temporalH265
	}
	return nil
}

// HasClearTemporal reports whether payloads of a MIME type tell the temporal layer
// although their frames are encrypted end to end: it is in the payload descriptor.
func HasClearTemporal(mime string) bool {
	switch strings.ToLower(mime) {
	case "video/vp8", "video/vp9":
		return true
	}
	return false
}

// disposable is the place of a picture that none refers to: one layer above the others.
func disposable() Temporal { return Temporal{Layer: 1, Sync: true} }

// temporalH264: RFC 6184 has no temporal layers, but nal_ref_idc is 0 in all slices of a
// picture that none refers to (section 1.3). What goes with slices, such as delimiters and
// supplemental information, has 0 always, and tells nothing.
func temporalH264(p []byte) Temporal {
	if len(p) < 2 {
		return Temporal{}
	}
	header, only := p[0], false
	switch p[0] & 0x1f {
	case h264STAPA:
		only = onlyDisposable(p[1:])
	case h264FUA:
		header = p[0]&^0x1f | p[1]&0x1f
		only = h264Disposable(header)
	default:
		only = h264Disposable(header)
	}
	if !only {
		return Temporal{}
	}
	return disposable()
}

// h264Disposable reports whether a NAL unit header is that of a slice of a picture that
// none refers to.
func h264Disposable(header byte) bool {
	kind := header & 0x1f
	return header&0x60 == 0 && kind >= h264Slice && kind < h264IDR
}

// onlyDisposable reports whether the NAL units of an aggregation packet are of a picture
// that none refers to.
func onlyDisposable(p []byte) (slices bool) {
	for len(p) > 2 {
		n := int(binary.BigEndian.Uint16(p))
		if n < 1 || n > len(p)-2 {
			return false
		}
		if p[2]&0x60 != 0 {
			return false
		}
		slices = slices || h264Disposable(p[2])
		p = p[2+n:]
	}
	return slices && len(p) == 0
}

// temporalH265 reads TemporalId (RFC 7798 section 1.1.4). Of a picture of sub-layer 0 whose
// type ends in _N, no other of that sub-layer makes use (H.265 section 7.4.2.2, table 7-1),
// but those of higher sub-layers may. It counts as a layer between sub-layer 0 and
// sub-layer 1: layer 1. Sub-layer n, from 1 on, is layer n+1, whether or not there are such
// pictures.
func temporalH265(p []byte) Temporal {
	if len(p) < 3 {
		return Temporal{}
	}
	switch kind := p[0] >> 1 & 0x3f; kind {
	case h265AP:
		return lowestOf(p[2:])
	case h265FU:
		return h265Temporal(p[2]&0x3f, p[1]&7)
	default:
		return h265Temporal(kind, p[1]&7)
	}
}

// Slice types of H.265. No picture from a TSA picture on makes use of an earlier one of its
// sub-layer or a higher one: a decoder can go on with the sub-layer. Of an STSA picture that
// holds for its own sub-layer alone: a picture of a higher one, or of this one by way of it,
// may still depend on what the decoder has not had.
const (
	h265TSAN  = 2
	h265TSAR  = 3
	h265LastN = 14 // of those with _N
)

// h265Temporal returns the place of a NAL unit by its type and nuh_temporal_id_plus1.
func h265Temporal(kind, plus1 byte) Temporal {
	switch {
	case kind >= h265FirstIRAP && kind <= h265LastIRAP, kind >= h265VPS && kind <= h265PPS:
		return Temporal{} // of sub-layer 0, whatever the header says
	case plus1 > 1:
		return Temporal{Layer: plus1, Sync: kind == h265TSAN || kind == h265TSAR}
	case plus1 == 1 && kind <= h265LastN && kind%2 == 0:
		return disposable()
	}
	return Temporal{}
}

// lowestOf returns the place of an aggregation packet of H.265: the lowest of its slices,
// and the base layer where it has parameter sets.
func lowestOf(p []byte) (low Temporal) {
	for found := false; len(p) > 0; {
		if len(p) < 4 {
			return Temporal{}
		}
		n := int(binary.BigEndian.Uint16(p))
		if n < 2 || n > len(p)-2 {
			return Temporal{}
		}
		kind := p[2] >> 1 & 0x3f
		t := h265Temporal(kind, p[3]&7)
		switch {
		case kind >= h265VPS && kind <= h265PPS:
			return Temporal{}
		case kind < h265VPS && (!found || t.Layer < low.Layer):
			low, found = t, true
		}
		p = p[2+n:]
	}
	return low
}
