package bwe

import "time"

// A Probe is a rate to be tried for a while: media and padding together are to reach
// it. The zero Probe asks for nothing.
type Probe struct {
	ID       uint32 // of the caller's choosing
	Rate     float64
	Duration time.Duration
}

// A ProbeResult is what a probe showed.
type ProbeResult struct {
	ID   uint32
	Done bool
	Rate float64 // what is carried: up to the rate that was sent; 0: the probe failed
	Harm bool    // it lost packets, or made a long queue
	// Unknown is set if too little was heard of its packets to tell, or far less was sent than
	// the probe asked for, and all of that was carried.
	Unknown bool
	Empty   bool // far less was sent in its time than the probe asked for
}

const (
	leastProbe    = 5 // packets
	harmfulQueue  = 150 * time.Millisecond
	harmfulLoss   = 0.02 // above the inherent
	filled        = 0.93 // of what was offered, if less is carried
	offersLittle  = 0.8  // of the rate that was asked for: the sender's fault, not the path's
	jittery       = 8 * time.Millisecond
	probeAnswer   = time.Second
	reportsAnswer = 2500 * time.Millisecond
)

// probe is the last probe. A nil probe was never begun.
type probe struct {
	plan     Probe
	from, to time.Duration // when its packets are sent
	result   ProbeResult
}

// StartProbe says that a probe begins: what is sent until its end belongs to it. A
// probe that is under way is given up.
func (e *Estimator) StartProbe(now time.Time, p Probe) {
	at := e.at(now)
	e.countSent()
	if e.probe == nil {
		e.probe = new(probe)
	}
	*e.probe = probe{plan: p, from: at, to: at + p.Duration, result: ProbeResult{ID: p.ID}}
	if e.fine != nil {
		e.fine.measure = measure{}
	}
}

func (p *probe) running() bool { return p != nil && p.plan.Rate > 0 && !p.result.Done }

// outcome returns the result so far. That of a nil probe is zero.
func (p *probe) outcome() ProbeResult {
	if p == nil {
		return ProbeResult{}
	}
	return p.result
}

// during reports whether what is sent at a time belongs to the probe.
func (p *probe) during(at time.Duration) bool { return p.running() && at >= p.from && at <= p.to }

// expire ends a probe that was not answered in time, or one whose answer is that no
// coarse report speaks against it.
func (p *probe) expire(at time.Duration, e *Estimator) {
	if !p.running() {
		return
	}
	source := e.heard.source(at, e.fine != nil)
	if at < p.to {
		if source == ReceiverEstimate && e.coarse.fellAt > p.from { // it need not go on
			p.to, p.result.Done = at, true
		}
		return
	}
	switch source {
	case TransportFeedback:
		if at > p.to+probeAnswer+2*e.rtt {
			e.finishProbe()
		}
	case ReceiverEstimate, Reports:
		tells := p.to + e.coarse.least
		if source == ReceiverEstimate { // which falls once there is a queue
			tells += objectedQueue
		}
		p.withoutObjection(e, e.coarse.reported > tells || at > p.to+reportsAnswer+e.rtt)
	case Nothing:
		p.result.Done = true
	}
}

// withoutObjection ends a probe at an objection or, if there was none, when there
// could have been one. If the viewer has said nothing since, nothing is known.
func (p *probe) withoutObjection(e *Estimator, heard bool) {
	switch objection, harm := e.coarse.objects(p.from); {
	case objection:
		p.result.Done, p.result.Harm = true, harm
	case heard && max(e.coarse.reported, e.coarse.estimateAt) <= p.to:
		p.result.Done, p.result.Unknown = true, true
	case heard:
		p.result.Done, p.result.Rate = true, p.plan.Rate
		if e.coarse.alone {
			e.setBitrate(max(e.bitrate, min(p.plan.Rate, headroom*e.peak.rate)), ByApplication)
		}
	}
}

// finishProbe computes what the probe's packets show. Of some nothing may be known,
// because the messages about them were lost.
func (e *Estimator) finishProbe() {
	r, m := &e.probe.result, &e.fine.measure
	r.Done = true
	lost, known := e.fine.ring.outcome(e.probe.from, e.probe.to)
	r.Harm = float64(lost) > (e.fine.loss.inherent+harmfulLoss)*float64(known)+1
	r.Empty = float64(8*m.bytes) < offersLittle*e.probe.plan.Rate*e.probe.plan.Duration.Seconds()
	sent, arrived := m.last.sent-m.first.sent, m.last.arrived-m.first.arrived
	if m.packets < leastProbe || sent < e.probe.plan.Duration/2 || arrived <= 0 {
		r.Unknown = !r.Harm
		return
	}
	longer := arrived - sent
	r.Harm = r.Harm || longer > harmfulQueue
	if e.fine.delay.jitter() > jittery {
		longer = m.longer()
	}
	offered := m.offered()
	r.Rate = offered * float64(sent) / float64(sent+max(longer, 0))
	if r.Harm {
		r.Rate *= 1 - float64(lost)/float64(max(known, 1))
	}
	switch {
	case r.Rate < filled*offered && r.Rate < e.bitrate:
		e.setBitrate(r.Rate, ByDelay) // it filled the path
		e.ceiling = r.Rate
	case !e.overused && r.Rate > e.bitrate:
		e.setBitrate(r.Rate, ByApplication)
		e.ceiling = 0
	}
	r.Unknown = !r.Harm && r.Rate >= filled*offered && offered < offersLittle*e.probe.plan.Rate
}

// A measure is what is seen of a probe's packets.
type measure struct {
	bytes       int           // that were sent
	lastSize    int           // of the last of them
	begun       time.Duration // when the first was sent
	ended       time.Duration // and the last
	packets     int           // that arrived
	first, last arrival       // the packets that arrived first and last
	halves      [2]half       // of the time in which they were sent
	passed      bool          // a packet sent later has arrived
}

// An arrival is when a packet was sent, and when it arrived.
type arrival struct{ sent, arrived time.Duration }

// A half is how long the packets of a part of a probe took.
type half struct {
	packets int
	sum     time.Duration
}

func (h half) mean() time.Duration { return h.sum / time.Duration(max(h.packets, 1)) }

func (m *measure) sent(at time.Duration, size int) {
	if m.bytes == 0 {
		m.begun = at
	}
	m.ended, m.lastSize = at, size
	m.bytes += size
}

func (m *measure) arrived(sent, at time.Duration, second bool) {
	if m.packets == 0 || at < m.first.arrived {
		m.first = arrival{sent, at}
	}
	if m.packets == 0 || at >= m.last.arrived {
		m.last = arrival{sent, at}
	}
	m.packets++
	h := &m.halves[0]
	if second {
		h = &m.halves[1]
	}
	h.packets++
	h.sum += at - sent
}

// offered returns the rate at which the packets were sent.
func (m *measure) offered() float64 {
	return float64(8*(m.bytes-m.lastSize)) / max(m.ended-m.begun, time.Millisecond).Seconds()
}

// longer returns how much longer the last packets took than the first, by the means of
// both halves. Where the delay varies, that is more certain than two packets.
func (m *measure) longer() time.Duration {
	if m.halves[0].packets == 0 || m.halves[1].packets == 0 {
		return 0
	}
	return 2 * (m.halves[1].mean() - m.halves[0].mean())
}
