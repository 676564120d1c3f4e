package cdntest

// A temporal is the place of a frame among three temporal layers. The zero temporal is that of
// a frame of a track without them.
type temporal struct {
	used  bool
	layer uint8
	// sync: the frame refers to the base layer alone.
	sync bool
	tl0  uint8 // counts frames of the base layer. Receivers know it only from the payload
}

// temporalAt returns the place of the frame that comes i frames after a keyframe. The pattern
// is libwebrtc's for three layers of VP8.
func temporalAt(i int) temporal {
	return temporal{used: true, layer: [4]uint8{0, 2, 1, 2}[i%4], sync: i%8 == 1 || i%8 == 2}
}

// references returns the frames that this one refers to, as frames after the keyframe: of each
// layer up to its own the newest, or of the base layer alone.
func references(i int) []int {
	switch i % 8 {
	case 0, 4:
		return []int{i - 4}
	case 1:
		return []int{i - 1}
	case 2:
		return []int{i - 2}
	case 5:
		return []int{i - 1, i - 2, i - 3}
	case 6:
		return []int{i - 2, i - 4}
	}
	return []int{i - 1, i - 2, i - 3} // 3 and 7
}

// A temporalDecoder knows which frames since a keyframe can be shown.
type temporalDecoder struct {
	key   *Frame
	shown map[int]bool
}

// decode reports whether a decoder can show the next frame, in order of sequence numbers.
func (d *temporalDecoder) decode(f *Frame) bool {
	if f.Key {
		d.key, d.shown = f, map[int]bool{0: true}
		return true
	}
	if d.key == nil || d.key.Seed != f.Seed || d.key.Layer != f.Layer || f.Number <= d.key.Number {
		return false
	}
	i := int(f.Number - d.key.Number)
	for _, r := range references(i) {
		if !d.shown[r] {
			return false
		}
	}
	d.shown[i] = true
	return true
}
