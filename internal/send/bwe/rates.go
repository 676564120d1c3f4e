package bwe

import "time"

// rates count bytes in slots of time, for the last second.
type rates struct {
	first  int64 // the slot in which counting began; 0: it has not
	newest int64 // the slot that is being filled
	bytes  [rateSlots]uint32
}

const (
	rateSlots   = 20
	rateSlot    = 50 * time.Millisecond
	longWindow  = 10 // slots
	shortWindow = 4
)

func (r *rates) reset(at time.Duration) {
	slot := int64(at/rateSlot) + 1 // never 0
	*r = rates{first: slot, newest: slot}
}

// add counts bytes at a time, which may be somewhat older than the newest.
func (r *rates) add(at time.Duration, size int) {
	slot := int64(at/rateSlot) + 1
	switch {
	case r.first == 0 || slot >= r.newest+rateSlots || slot < r.newest-10*rateSlots: // a long silence, or the clock was set
		r.reset(at)
	case slot > r.newest:
		for r.newest < slot {
			r.newest++
			r.bytes[index(r.newest)] = 0
		}
	case slot <= r.newest-rateSlots:
		return
	}
	r.bytes[index(slot)] += uint32(size)
}

func index(slot int64) int { return int(uint64(slot) % rateSlots) }

// complete returns the rate in bits a second over a number of slots ahead of the one
// that is being filled, or over those behind the one in which counting began.
func (r *rates) complete(slots int64) float64 {
	slots = max(1, min(slots, r.slots()))
	return r.over(r.newest-slots, slots)
}

// slots returns how many slots are complete.
func (r *rates) slots() int64 { return r.newest - r.first - 1 }

// until returns the rate over a number of slots as seen at a time: what has not been
// added is nothing.
func (r *rates) until(at time.Duration, slots int64) float64 {
	return r.over(int64(at/rateSlot)+1-slots, slots)
}

func (r *rates) over(first, slots int64) float64 {
	var sum uint64
	slot, last := max(first, r.newest-rateSlots+1, 1), min(first+slots-1, r.newest)
	for i := index(slot); slot <= last; slot++ {
		sum += uint64(r.bytes[i])
		if i++; i == rateSlots {
			i = 0
		}
	}
	return float64(sum*8) / (time.Duration(slots) * rateSlot).Seconds()
}

// A peak is the highest rate lately. It halves in two seconds.
type peak struct {
	rate float64
	at   time.Duration
}

func (p *peak) update(at time.Duration, rate float64) {
	const half = 2 * time.Second
	past := at - p.at
	p.at = at
	p.rate *= max(0, 1-0.5*float64(past)/float64(half))
	p.rate = max(p.rate, rate)
}
