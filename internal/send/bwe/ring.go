package bwe

import "time"

// A record is a packet that was sent with a transport-wide sequence number.
type record struct {
	at    uint32 // in ticks; wraps
	size  uint16 // bytes
	state uint8
	flags Flag
}

// The states of a record.
const (
	pending  uint8 = iota
	reported       // as not received
	acknowledged
	missing // counted as lost; it may arrive yet
)

// kind is the packet's place in ring.reports.
func (p *record) kind() int { return int(p.flags) % flagSets }

// tick is the unit of the times of records. In 32 bits there are 19 hours.
const tick = 16 * time.Microsecond

const (
	leastRing = 256
	mostRing  = 2048
	// keepFor is how long an unacknowledged packet is remembered if the ring can grow.
	keepFor = time.Second
)

// A ring remembers the packets sent last, by sequence number.
type ring struct {
	slots    []record // a power of two of them
	first    int64    // the oldest that is remembered, as an extended sequence number
	next     int64    // behind the newest
	resolved int64    // those below are acknowledged or missing
	highest  int64    // the newest that is acknowledged
	since    int64    // the first that was sent since the estimate was lowered
	window   time.Duration
	plain    int // bytes of packets without sequence number since the last feedback
	// reports: of packets with these flags, one was acknowledged at least. Receivers have
	// negotiated feedback on sound and never sent any.
	reports [flagSets]bool
}

// leastReordering is how much later than its successors a packet may arrive, at
// first, until it counts as lost.
const (
	leastReordering = 50 * time.Millisecond
	mostReordering  = 500 * time.Millisecond
)

func (r *ring) init() {
	*r = ring{slots: make([]record, leastRing), next: -1, window: leastReordering}
}

// add remembers a packet.
func (r *ring) add(seq uint16, at time.Duration, size int, flags Flag) {
	ext := int64(seq)
	if r.next >= 0 {
		ext = extend(r.next, seq)
	}
	if r.next < 0 || ext < r.next || ext >= r.next+int64(len(r.slots)) {
		ext = int64(seq) + 1<<16 // the first, or a jump: nothing before it counts
		r.first, r.next, r.resolved, r.highest, r.since = ext, ext, ext, ext-1, ext
	}
	for ; r.next < ext; r.next++ {
		*r.slot(r.next) = record{state: acknowledged} // never sent: nothing is expected of it
	}
	r.makeRoom(at)
	*r.slot(ext) = record{at: uint32(at / tick), size: uint16(min(size, 1<<16-1)), flags: flags}
	r.next = ext + 1
	r.first = max(r.first, r.next-int64(len(r.slots)))
	r.resolved = max(r.resolved, r.first)
}

// makeRoom doubles the ring if the next packet would push out one that may be
// acknowledged yet.
func (r *ring) makeRoom(at time.Duration) {
	if r.next-r.resolved < int64(len(r.slots)) || len(r.slots) >= mostRing || r.age(at, r.slot(r.resolved)) > keepFor {
		return
	}
	bigger := ring{slots: make([]record, 2*len(r.slots))}
	for i := r.first; i < r.next; i++ {
		*bigger.slot(i) = *r.slot(i)
	}
	r.slots = bigger.slots
}

func (r *ring) slot(ext int64) *record { return &r.slots[ext&int64(len(r.slots)-1)] }

// age returns how long before a time a packet was sent. What was sent after it, by another
// reading of the clock, was sent just then.
func (r *ring) age(at time.Duration, p *record) time.Duration {
	return max(0, time.Duration(int32(uint32(at/tick)-p.at))*tick)
}

// find returns the packet with a sequence number and its extended number, nil if it
// was not sent or is forgotten.
func (r *ring) find(seq uint16) (*record, int64) {
	ext := extend(r.next-1, seq)
	if ext < r.first || ext >= r.next {
		return nil, 0
	}
	return r.slot(ext), ext
}

// extend returns the number nearest to near whose low 16 bits are seq.
func extend(near int64, seq uint16) int64 { return near + int64(int16(seq-uint16(near))) }

// report notes that a message was about packets.
func (r *ring) report(base uint16, about int) {
	first := extend(r.next-1, base)
	for i := max(first, r.resolved); i < min(first+int64(about), r.next); i++ {
		if p := r.slot(i); p.state == pending {
			p.state = reported
		}
	}
}

// outcomes counts packets: how many arrived, and how many were lost.
type outcomes struct{ arrived, lost int }

func (o outcomes) total() int { return o.arrived + o.lost }

func (o *outcomes) add(more outcomes) {
	o.arrived += more.arrived
	o.lost += more.lost
}

// resolve returns the outcomes that have become known since the last call: of all packets, and
// of those among them that were sent after the estimate was lowered. Packets below the newest
// acknowledged that were sent more than the reordering window before it, and were reported as
// not received, are lost. Of others the message was lost. Of those whose like were never
// acknowledged nothing is known.
func (r *ring) resolve() (all, since outcomes) {
	if r.highest < r.resolved {
		return all, since
	}
	newest := r.slot(r.highest).at
	for ; r.resolved <= r.highest; r.resolved++ {
		p := r.slot(r.resolved)
		var one outcomes
		switch {
		case p.size == 0: // never sent
		case p.state == acknowledged:
			one.arrived = 1
		case time.Duration(newest-p.at)*tick < r.window:
			return all, since
		case p.state == reported:
			p.state = missing
			if r.reports[p.kind()] {
				one.lost = 1
			}
		}
		all.add(one)
		if r.resolved >= r.since {
			since.add(one)
		}
	}
	return all, since
}

// late widens the window by which a packet, which counted as lost, came too late.
func (r *ring) late(p *record) {
	by := time.Duration(r.slot(r.highest).at-p.at) * tick
	r.window = min(max(r.window, by+by/4), mostReordering)
}

// outcome returns how many of the packets sent in a span of time were lost, of how many
// it is known. Nothing is known of those whose like were never acknowledged: Firefox
// acknowledges no packet of a stream of retransmissions.
func (r *ring) outcome(from, to time.Duration) (lost, known int) {
	first, span := uint32(from/tick), uint32((to-from)/tick)
	for i := r.first; i < r.next; i++ {
		p := r.slot(i)
		if p.at-first > span || p.size == 0 || p.state == pending || !r.reports[p.kind()] {
			continue
		}
		known++
		if p.state != acknowledged {
			lost++
		}
	}
	return lost, known
}
