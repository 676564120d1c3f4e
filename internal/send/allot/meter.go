package allot

import "time"

// A Meter measures what a layer costs: the most that came in any second of the last
// five. The mean of the last second would be too low just ahead of a keyframe or a
// scene that is hard to code.
type Meter struct {
	slot  int64 // the slot that is being filled
	bytes [second]uint32
	sum   uint32        // of bytes
	peaks [peaks]uint32 // the highest sum in each half second
	known bool
}

const (
	meterSlot = 100 * time.Millisecond
	second    = 10 // slots
	halves    = second / 2
	peaks     = 10
)

// Add counts a packet of size bytes, headers included. since is the time since
// anything fixed.
func (m *Meter) Add(since time.Duration, size int) {
	m.advance(int64(since / meterSlot))
	m.bytes[m.slot%second] += uint32(size)
	m.sum += uint32(size)
	p := &m.peaks[m.slot/halves%peaks]
	*p = max(*p, m.sum)
}

// Bitrate returns the cost in bits a second, as of a time; 0: nothing came.
func (m *Meter) Bitrate(since time.Duration) float64 {
	m.advance(int64(since / meterSlot))
	var most uint32
	for _, p := range m.peaks {
		most = max(most, p)
	}
	return float64(most) * 8
}

func (m *Meter) advance(slot int64) {
	if !m.known || slot-m.slot > second*peaks {
		*m = Meter{slot: slot, known: true}
		return
	}
	for m.slot < slot {
		m.slot++
		m.sum -= m.bytes[m.slot%second]
		m.bytes[m.slot%second] = 0
		if m.slot%halves == 0 {
			m.peaks[m.slot/halves%peaks] = m.sum
		}
	}
}
