package codec

import "strings"

// Picture holds the running identifiers of a payload; negative: not present.
// As a shift between two payloads it holds differences, and 0 changes nothing.
type Picture struct {
	ID     int32 // picture ID
	Wide   bool  // it has 15 bits, not 7; of no meaning in a shift
	TL0    int16 // TL0PICIDX, 8 bits
	KeyIdx int16 // KEYIDX, 5 bits, of VP8 only
}

// Pictures reads and shifts the identifiers of one codec.
type Pictures struct {
	// Read is false for a payload without identifiers, or a malformed one.
	Read func(payload []byte) (Picture, bool)
	// Shift adds to the identifiers in place, modulo their width: the payload
	// keeps its length, and a 7-bit identifier stays one. It leaves a
	// malformed payload as it is.
	Shift func(payload []byte, by Picture)
	// Counted: receivers take a picture ID that is missing for a frame that is.
	Counted bool
}

// PicturesFor returns what reads the identifiers of a MIME type, without regard
// to case; nil where there are none.
func PicturesFor(mime string) *Pictures {
	switch strings.ToLower(mime) {
	case "video/vp8":
		return &Pictures{Read: readVP8, Shift: shiftVP8, Counted: true}
	case "video/vp9":
		return &Pictures{Read: readVP9, Shift: shiftVP9}
	}
	return nil
}

// Between returns the shift that makes next follow prev directly: each
// identifier that both have becomes prev's plus one.
func Between(prev, next Picture) (by Picture) {
	if prev.ID >= 0 && next.ID >= 0 {
		by.ID = prev.ID + 1 - next.ID
	}
	if prev.TL0 >= 0 && next.TL0 >= 0 {
		by.TL0 = prev.TL0 + 1 - next.TL0
	}
	if prev.KeyIdx >= 0 && next.KeyIdx >= 0 {
		by.KeyIdx = prev.KeyIdx + 1 - next.KeyIdx
	}
	return by
}

// places says where in a payload the identifiers are; 0: not present.
type places struct {
	id, tl0, key int
	wide         bool
}

func (at places) read(p []byte) (Picture, bool) {
	out := Picture{ID: -1, TL0: -1, KeyIdx: -1}
	if at.id != 0 {
		out.ID, out.Wide = readID(p[at.id:], at.wide), at.wide
	}
	if at.tl0 != 0 {
		out.TL0 = int16(p[at.tl0])
	}
	if at.key != 0 {
		out.KeyIdx = int16(p[at.key] & 0x1f)
	}
	return out, at != places{}
}

func (at places) shift(p []byte, by Picture) {
	if at.id != 0 {
		writeID(p[at.id:], at.wide, readID(p[at.id:], at.wide)+by.ID)
	}
	if at.tl0 != 0 {
		p[at.tl0] += byte(by.TL0)
	}
	if at.key != 0 { // TID and Y share its byte
		p[at.key] = p[at.key]&0xe0 | (p[at.key]+byte(by.KeyIdx))&0x1f
	}
}

// readID reads a picture ID, which VP8 and VP9 write alike: the first bit says
// whether it has 15 bits.
func readID(p []byte, wide bool) int32 {
	if wide {
		return int32(p[0]&0x7f)<<8 | int32(p[1])
	}
	return int32(p[0] & 0x7f)
}

func writeID(p []byte, wide bool, id int32) {
	if wide {
		p[0], p[1] = 0x80|byte(id>>8)&0x7f, byte(id)
		return
	}
	p[0] = byte(id) & 0x7f
}
