package codec

// A Structure is what a template structure (AV1 RTP specification, appendix A.8.3) tells
// of the temporal layers of the frames that refer to its templates. A sender attaches it
// to keyframes, and the frames that follow only name templates.
type Structure struct {
	offset    uint8
	templates uint8
	targets   uint8
	height    uint16
	places    [maxTemplates]Temporal
}

// Decode target indications.
const (
	notPresent       = 0
	switchIndication = 2
)

// ReadStructure reads the structure that is attached to a descriptor; nil: there is none, or
// a malformed one.
func ReadStructure(ext []byte) *Structure {
	if len(ext) < 4 || ext[3]&0x80 == 0 {
		return nil
	}
	r := bits{p: ext[3:]}
	r.read(5) // the flags
	offset, targets := r.read(6), r.read(5)+1
	layers, spatial := r.templates()
	if r.short {
		return nil
	}
	indications := make([]uint8, layers.count*targets)
	for i := range indications {
		indications[i] = uint8(r.read(2))
	}
	for range layers.count { // template_fdiffs
		for r.flag() {
			r.read(4)
		}
	}
	r.chains(targets, layers.count)
	height := 0
	if r.flag() { // resolutions_present_flag
		for range spatial + 1 {
			r.read(16)
			height = max(height, r.read(16)+1)
		}
	}
	if r.short {
		return nil
	}
	s := &Structure{offset: uint8(offset), templates: uint8(layers.count), targets: uint8(targets), height: uint16(min(height, 1<<16-1))}
	s.place(&layers, indications)
	return s
}

// place says of each template what it is to those who receive only some temporal layers.
// A decode target is of the highest temporal layer of the templates that are present in it.
func (s *Structure) place(layers *templates, indications []uint8) {
	targets := int(s.targets)
	tops := make([]uint8, targets)
	for t := range layers.count {
		for d := range targets {
			if indications[t*targets+d] != notPresent {
				tops[d] = max(tops[d], layers.temporal[t])
			}
		}
	}
	for t := range layers.count {
		at := &s.places[t]
		at.Layer = layers.temporal[t]
		above, all := false, true // of the decode targets of higher temporal layers
		for d := range targets {
			if i := indications[t*targets+d]; i != notPresent && tops[d] > at.Layer {
				above, all = true, all && i == switchIndication
			}
		}
		at.Switch = above && all
	}
}

// Temporal returns the place of a frame by its descriptor; false: it names no template of
// the structure. A frame whose indications are its own, and not its template's, is no place
// to switch at.
func (s *Structure) Temporal(ext []byte) (t Temporal, ok bool) {
	if len(ext) < 3 {
		return Temporal{}, false
	}
	i := (int(ext[0]&0x3f) + maxTemplates - int(s.offset)) % maxTemplates
	if i >= int(s.templates) {
		return Temporal{}, false
	}
	t = s.places[i]
	if len(ext) > 3 && ext[3]&0x20 != 0 { // custom_dtis_flag
		t.Switch = false
	}
	return t, true
}

// Height returns the height of the highest spatial layer, in pixels; 0: not told.
func (s *Structure) Height() int { return int(s.height) }
