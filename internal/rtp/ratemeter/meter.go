// Package ratemeter measures what it costs to send a layer: the most that came in any second of
// the last five. The mean of the last second would be too low just ahead of a keyframe, or of
// a scene that is hard to code.
package ratemeter

import "time"

// Layers is how many temporal layers are told apart.
const Layers = 8

const (
	slotTime = 100 * time.Millisecond
	second   = 10 // slots
	halves   = second / 2
	peaks    = 10 // half seconds
)

// A Meter measures a layer and its temporal layers. The zero Meter is ready. It is not safe
// for concurrent use, and does not allocate.
type Meter struct {
	slot  int64 // that is being filled
	known bool
	bytes [second][Layers]uint32 // of each temporal layer, by slot
	sums  [Layers]uint32         // of bytes
	peaks [peaks][Layers]uint32  // the most of a second, of the temporal layers up to each, in each half second
}

// Bitrates are in bits a second, of the temporal layers up to each.
type Bitrates [Layers]float64

// Whole returns that of all temporal layers.
func (b *Bitrates) Whole() float64 { return b[Layers-1] }

// Count returns how many temporal layers there are: 0 if nothing came.
func (b *Bitrates) Count() int {
	for i, r := range b {
		if r == b.Whole() && r > 0 {
			return i + 1
		}
	}
	return 0
}

// Add counts a packet of size bytes, headers included, of a temporal layer. since is the time
// since anything fixed. Add reports whether it is the first of 100 ms: then the bitrates may
// have changed.
func (m *Meter) Add(since time.Duration, layer uint8, size int) (over bool) {
	over = m.advance(int64(since / slotTime))
	layer %= Layers
	m.bytes[m.slot%second][layer] += uint32(size)
	m.sums[layer] += uint32(size)
	return over
}

// Bitrates returns what the layer costs, as of a time.
func (m *Meter) Bitrates(since time.Duration) (b Bitrates) {
	m.advance(int64(since / slotTime))
	m.note()
	for _, p := range m.peaks {
		for i, most := range p {
			b[i] = max(b[i], float64(most)*8)
		}
	}
	return b
}

// advance goes on to a slot, and reports whether it is another one.
func (m *Meter) advance(slot int64) bool {
	switch {
	case m.known && slot <= m.slot:
		return false
	case !m.known || slot-m.slot > second*peaks:
		*m = Meter{slot: slot, known: true}
		return true
	}
	m.note()
	for m.slot < slot {
		m.slot++
		oldest := &m.bytes[m.slot%second]
		for i, n := range oldest {
			m.sums[i] -= n
		}
		*oldest = [Layers]uint32{}
		if m.slot%halves == 0 {
			m.peaks[m.slot/halves%peaks] = [Layers]uint32{}
		}
		m.note()
	}
	return true
}

// note notes the second that ends now.
func (m *Meter) note() {
	p, sum := &m.peaks[m.slot/halves%peaks], uint32(0)
	for i, n := range m.sums {
		sum += n
		p[i] = max(p[i], sum)
	}
}
