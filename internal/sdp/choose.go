package sdp

import (
	"slices"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/sdp/format"
)

// A Chooser says which of the codecs that a publisher offers in one m-section is
// taken: it returns an index into offered, which is not empty, or a negative
// number for none. A nil Chooser takes what [Preferred] does.
type Chooser func(kind cdn.Kind, offered []cdn.Codec) int

// Preferred chooses what most viewers can decode; see [format.Ingest].
func Preferred(_ cdn.Kind, offered []cdn.Codec) int { return format.Ingest(formats(offered)) }

// Choose returns the codec of the m-section that is taken from a publisher; false
// if none is.
func (m *Media) Choose(choose Chooser) (Codec, bool) {
	if len(m.Codecs) == 0 {
		return Codec{}, false
	}
	if choose == nil {
		choose = Preferred
	}
	i := choose(m.Kind, m.Offered())
	if i < 0 || i >= len(m.Codecs) {
		return Codec{}, false
	}
	return m.Codecs[i], true
}

// Only is a Chooser that takes what choose does of the codecs that allowed
// permits.
func Only(allowed func(cdn.Codec) bool, choose Chooser) Chooser {
	if choose == nil {
		choose = Preferred
	}
	return func(kind cdn.Kind, offered []cdn.Codec) int {
		var left []cdn.Codec
		var at []int
		for i, c := range offered {
			if allowed(c) {
				left, at = append(left, c), append(at, i)
			}
		}
		if len(left) == 0 {
			return -1
		}
		if i := choose(kind, slices.Clip(left)); i >= 0 && i < len(at) {
			return at[i]
		}
		return -1
	}
}

// Nearest returns the codec of the m-section by which a receiver can take what is
// sent; the nearest to it, if there are several.
func (m *Media) Nearest(sent cdn.Codec) (Codec, bool) {
	i := format.Nearest(format.Format(sent), formats(m.Offered()))
	if i < 0 {
		return Codec{}, false
	}
	return m.Codecs[i], true
}

// Offered returns the codecs of the m-section, in the offerer's order.
func (m *Media) Offered() (all []cdn.Codec) {
	for _, c := range m.Codecs {
		all = append(all, c.Codec)
	}
	return all
}

func formats(codecs []cdn.Codec) (all []format.Format) {
	for _, c := range codecs {
		all = append(all, format.Format(c))
	}
	return all
}
