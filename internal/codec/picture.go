package codec

import "strings"

// Picture holds the running identifiers of a payload; negative: not present.
// As a shift between two payloads it holds differences.
type Picture struct {
	ID     int32 // picture id
	Wide   bool  // it has 15 bits, not 7
	TL0    int16 // TL0PICIDX, 8 bits
	KeyIdx int16 // KEYIDX, 5 bits
}

var absent = Picture{ID: -1, TL0: -1, KeyIdx: -1}

// Pictures reads and shifts the identifiers of one codec.
type Pictures struct {
	// Read is false for a payload without identifiers.
	Read func(payload []byte) (Picture, bool)
	// Shift adds to the identifiers in place, modulo their width.
	Shift func(payload []byte, by Picture)
}

// PicturesFor returns what reads the identifiers of a MIME type, nil where
// there are none.
func PicturesFor(mime string) *Pictures {
	switch strings.ToLower(mime) {
	case "video/vp8":
		return &Pictures{Read: readVP8, Shift: shiftVP8}
	case "video/vp9":
		return &Pictures{Read: readVP9, Shift: shiftVP9}
	}
	return nil
}

// Between returns the shift that makes next follow prev directly.
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
