package budget

import "time"

// slots is how many packets a table remembers: as many as pion's generator of NACKs asks
// for until it gives up.
const slots = 512

// A table remembers the last repairs, by packet, and what was sent for them.
type table struct {
	epoch   time.Time
	records [slots]record
	spent   span

	// Of the last packets that were repaired: how many, and how many of them were asked
	// for again.
	firsts, repeated int

	answered uint64  // repairs that were asked for, ever
	reported uint64  // of these, when the last report came
	needed   float64 // of these, those of packets that the path has lost
}

// A record is the last repair of a packet. The zero record is of none.
type record struct {
	at      uint32 // since the table's epoch, in ticks, plus 1; 0: none
	tag     uint16 // the packet's number, without the bits that are its place in the table
	repeats uint8  // repairs after the first
	asked   bool   // for again, a round trip or more after a repair
}

// tick is the unit of the times in a table: 31 bits are 5 hours. A repair that is older
// than that may be taken for a younger one, of a packet whose number differs by 2^25.
const tick = 10 * time.Microsecond

// find returns the place for a packet, and whether the packet was repaired.
func (t *table) find(seq uint64) (*record, bool) {
	r := &t.records[seq%slots]
	return r, r.at != 0 && r.tag == tag(seq)
}

func tag(seq uint64) uint16 { return uint16(seq / slots) }

// since returns how long ago a repair was.
func (t *table) since(now time.Time, r *record) time.Duration {
	return max(0, time.Duration(int32(t.ticks(now)-r.at))*tick)
}

// ticks returns a time as records have it. None is 0.
func (t *table) ticks(now time.Time) uint32 {
	return max(1, uint32(max(0, now.Sub(t.epoch))/tick)+1)
}

// The share of repaired packets that are asked for again is that of the last ones, leastSeen
// at least.
const (
	leastSeen = 16
	mostSeen  = 64
)

// askedAgain notes that a packet is asked for though it was repaired.
func (t *table) askedAgain(r *record) {
	if !r.asked {
		r.asked = true
		t.repeated++
	}
}

// note notes a repair of packet seq at the place that find has returned.
func (t *table) note(now time.Time, seq uint64, r *record, again bool) {
	if again {
		r.repeats = min(r.repeats, 1<<8-2) + 1
	} else {
		*r = record{tag: tag(seq)}
		if t.firsts++; t.firsts > mostSeen {
			t.firsts, t.repeated = t.firsts/2, t.repeated/2
		}
	}
	r.at = t.ticks(now)
}

func (t *table) isDeaf() bool { return t.firsts >= leastSeen && 2*t.repeated > t.firsts }
