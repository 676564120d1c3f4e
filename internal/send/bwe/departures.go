package bwe

import "time"

// departures are packets that were sent and are not counted yet. A viewer is sent several bursts
// from one message of feedback to the next. To count each packet as it leaves would fetch the
// estimator's memory from beyond the processor's caches for each burst; so it is fetched once for a
// message. A method that needs to know what was sent calls [Estimator.countSent] first.
type departures struct {
	bursts  uint8
	packets uint8
	burst   [6]burst
	sizes   [40]uint16 // of all bursts' packets, in bytes
}

// A burst is packets with consecutive numbers that were sent at one time.
type burst struct {
	at      time.Duration
	first   uint16 // number
	packets uint8
	flags   Flag
}

// add adds a packet. It returns false if there is no room.
func (d *departures) add(at time.Duration, seq uint16, size int, flags Flag) bool {
	if int(d.packets) == len(d.sizes) {
		return false
	}
	last := int(d.bursts) - 1
	if last < 0 || !d.burst[last].continues(at, seq, flags) {
		if last++; last == len(d.burst) {
			return false
		}
		d.burst[last] = burst{at: at, first: seq, flags: flags}
		d.bursts++
	}
	d.burst[last].packets++
	d.sizes[d.packets] = uint16(min(size, 1<<16-1))
	d.packets++
	return true
}

func (b *burst) continues(at time.Duration, seq uint16, flags Flag) bool {
	return b.at == at && b.first+uint16(b.packets) == seq && b.flags == flags
}

// countSent counts what was sent and is not counted yet.
func (e *Estimator) countSent() {
	f := e.fine
	if f == nil || f.sent.bursts == 0 {
		return
	}
	d := &f.sent
	sizes := d.sizes[:d.packets]
	for i := range d.burst[:d.bursts] {
		b := &d.burst[i]
		of, all := sizes[:b.packets], 0
		sizes = sizes[b.packets:]
		for _, size := range of {
			all += int(size)
		}
		e.count(b.at, len(of), all)
		if e.probe.during(b.at) {
			for _, size := range of {
				f.measure.sent(b.at, int(size))
			}
		}
		for k, size := range of {
			f.ring.add(b.first+uint16(k), b.at, int(size), b.flags)
		}
	}
	d.bursts, d.packets = 0, 0
}
