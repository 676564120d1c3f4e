package bwe

import "time"

// The constants of the control of the rate (draft-ietf-rmcat-gcc-02 section 5.5).
const (
	decrease      = 0.85
	lossDecrease  = 0.9
	increase      = 1.08 // a second
	headroom      = 1.5  // how far above what arrives the estimate may grow
	headroomExtra = 10e3
	littleSent    = 0.1                    // of what was sent lately; whoever sends less loses nothing because of it
	answerTime    = 100 * time.Millisecond // and a round trip: until a decrease can show
	leastAnswer   = 200 * time.Millisecond
	burstShare    = 0.8                   // of what the path carries: if less was sent in the last second, the queue drains
	tellSlack     = 30 * time.Millisecond // a viewer may wait this long until it tells
)

// Feedback takes one RTCP packet of transport-wide feedback, without others of its
// compound. It does nothing while the estimator dozes.
func (e *Estimator) Feedback(now time.Time, packet []byte) error {
	f := e.fine
	if f == nil {
		return nil
	}
	at := e.at(now)
	e.countSent()
	before := f.ring.highest
	base, about, err := f.read.read(packet, func(seq uint16, arrival time.Duration) { e.arrived(at, seq, arrival) })
	if err != nil {
		return err
	}
	f.ring.report(base, about)
	if f.ring.highest == before {
		return nil // acknowledges nothing new: it may be forged
	}
	silence := e.heard.silent(&e.heard.feedback, at)
	e.heard.fine(at)
	e.measure(at)
	if silence { // what was lost in it says nothing of the present
		f.ring.resolved = f.ring.highest + 1
		f.loss.forget(at)
	}
	all, since := f.ring.resolve()
	f.loss.add(at, all, since)
	e.control(at)
	if e.probe.running() && f.measure.passed {
		e.finishProbe()
	}
	return nil
}

// arrived takes the acknowledgement of one packet.
func (e *Estimator) arrived(at time.Duration, seq uint16, arrival time.Duration) {
	f := e.fine
	p, ext := f.ring.find(seq)
	if p == nil || p.state == acknowledged {
		return
	}
	if p.state == missing {
		f.ring.late(p)
		f.loss.late()
	}
	p.state = acknowledged
	f.ring.reports[p.kind()] = true
	sent := at - f.ring.age(at, p)
	f.ring.highest = max(f.ring.highest, ext)
	f.arrived.add(arrival, int(p.size)+f.ring.plain)
	f.ring.plain = 0
	f.delay.arrived(sent, arrival)
	switch {
	case !e.probe.running() || sent+tick < e.probe.from:
	case sent > e.probe.to:
		f.measure.passed = true
	default:
		f.measure.arrived(sent, arrival, sent-e.probe.from > e.probe.plan.Duration/2)
	}
}

// measure takes the round trip, and what was sent at most.
func (e *Estimator) measure(at time.Duration) {
	ring := &e.fine.ring
	sample := ring.age(at, ring.slot(ring.highest))
	if !e.fine.measured { // the first since waking
		e.fine.measured, e.rtt = true, sample
		if e.coarse.least > 0 {
			e.fine.delay.begin(sample - e.coarse.least - tellSlack)
		}
	}
	e.rtt += (sample - e.rtt) / 8
	e.peak.update(at, max(e.sent.until(at, longWindow), e.sent.until(at, shortWindow)))
}

// control moves the estimate by what transport-wide feedback says.
func (e *Estimator) control(at time.Duration) {
	f := e.fine
	over, under := f.delay.judge(at)
	lossy := f.loss.judge(at, over || f.delay.standing() > growsAbove)
	passes := over && !lossy && e.passes(at)
	e.overused, e.underuse = over && !passes || lossy, under && !lossy
	switch {
	case passes:
		e.fill()
	case over:
		e.lower(at, decrease, ByDelay)
	case lossy:
		e.lower(at, lossDecrease, ByLoss)
	case !under:
		e.raise(at, e.plausible(f.arrived.complete(longWindow)))
	}
	if over || lossy || under {
		e.updated = at
	}
}

// passes reports whether a queue goes away by itself, since a burst such as a keyframe has
// made it. While a queue stands, packets arrive at the rate that the path carries. If clearly
// less than that was sent in the last second, the path has time to empty the queue.
func (e *Estimator) passes(at time.Duration) bool {
	f := e.fine
	if f.arrived.slots() < shortWindow || e.probe.running() {
		return false
	}
	return e.sent.until(at, rateSlots) < burstShare*e.plausible(f.arrived.complete(shortWindow))
}

// fill notes what arrives while the queue of a burst stands: the path carries no more.
func (e *Estimator) fill() {
	carried := e.plausible(e.fine.arrived.complete(shortWindow))
	e.ceiling = carried
	if carried < e.bitrate {
		e.setBitrate(carried, ByDelay)
	}
}

// lower sets the estimate to a part of what arrives, once for each time that a
// decrease takes to show.
func (e *Estimator) lower(at time.Duration, part float64, l Limit) {
	if at-e.lowered < max(leastAnswer, e.rtt+answerTime) && e.limit == l {
		return
	}
	f := e.fine
	if f.arrived.slots() < shortWindow { // awake for too short a time
		return
	}
	if l == ByLoss && e.sent.until(at, shortWindow) < littleSent*e.peak.rate {
		return // what is lost was sent when more was
	}
	e.lowered = at
	e.ceiling = e.plausible(f.arrived.complete(shortWindow))
	if rate := part * e.ceiling; rate < e.bitrate || !f.lowered { // coarse estimates no longer count
		f.lowered = true
		if rate < fallen*e.bitrate {
			f.ring.since = f.ring.next
			f.loss.lowered()
		}
		e.setBitrate(rate, l)
	}
}

// raise lets the estimate grow, while more than half of it arrives, and up to what the
// path is known to carry. What arrives without a queue is carried.
func (e *Estimator) raise(at time.Duration, acked float64) {
	past := min(at-e.updated, time.Second)
	e.updated = at
	most := headroom*acked + headroomExtra
	switch {
	case acked > e.ceiling:
		e.ceiling = 0
	case e.ceiling > 0:
		most = min(most, e.ceiling)
	}
	if e.bitrate >= most {
		if e.ceiling == 0 {
			e.limit = ByApplication
		}
		return
	}
	grown := max(acked, e.bitrate*(1+(increase-1)*past.Seconds()))
	e.setBitrate(min(grown, most), e.limit)
}
