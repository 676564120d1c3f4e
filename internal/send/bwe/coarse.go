package bwe

import (
	"math"
	"time"
)

// A Report is a reception report block (RFC 3550 section 6.4.1) about one RTP stream.
type Report struct {
	SSRC      uint32
	Lost      uint8         // the fraction lost, of 256
	Highest   uint32        // the extended highest sequence number received
	Sent      uint32        // packets of the stream, since the report on it before; 0: unknown
	RoundTrip time.Duration // by the last sender report; 0: unknown
}

const (
	streams = 4 // of a viewer, whose reports are told apart

	// An estimate this far below what is sent needs no confirmation.
	farBelow = 0.5
	below    = 0.9
	fallen   = 0.97

	reportedLoss  = 0.10 // above the inherent: the rate is too high
	firstLoss     = 0.30 // the same, without confirmation, of the first packets
	troublesome   = 0.03
	reportedQueue = 80 * time.Millisecond  // as the round trip grows
	objectedQueue = 60 * time.Millisecond  // after a probe
	longQueue     = 200 * time.Millisecond // is enough if the report before told of one, too
	sawQueue      = 40 * time.Millisecond
	roundSpan     = 500 * time.Millisecond // reports on several streams come together
	lowersFor     = 200 * time.Millisecond
	coarseAnswer  = time.Second // and a round trip: until a decrease can show
	fresh         = 2500 * time.Millisecond
	certain       = 6    // signs are enough
	lossByChance  = 0.65 // by the root of the packets reported
	muchAsked     = 0.1  // of the packets sent
	firstRounds   = 2    // of reports, which tell of the burst at the start
	estimateLasts = 400 * time.Millisecond
	leastLasts    = 30 * time.Second // how long a least round trip counts
)

// coarse is what receiver estimates, reports and NACKs say. Its memory is the same
// awake and asleep.
type coarse struct {
	heard [streams]struct{ ssrc, highest uint32 } // the last reports on the streams

	estimate   float64 // REMB; 0: none
	estimateAt time.Duration
	fellAt     time.Duration // when it fell last
	lowSince   time.Duration // since when the estimate is below what is sent; 0: it is not

	loss     float64 // of the present round of reports, of all streams
	inherent float64
	round    time.Duration // when that round began
	roundAt  uint64        // packets sent until then
	lost     float32       // packets, in it
	judged   uint32        // packets of which loss is a share
	expected uint32        // packets, in it
	nacked   uint32        // packets asked for, in it
	// How many signs there were in a row that the rate is too high: with this round, and
	// before it.
	bad, badBefore int16
	// complains reports whether the viewer's own estimate speaks of congestion: it is low,
	// and it fell or is less than half of what is sent. A low estimate that only grows says
	// nothing: libwebrtc begins with the rate of the first five seconds, or of the first
	// after a silence, and raises it by 8 % a second.
	complains bool
	// alone says that no transport-wide feedback can come, which would soon know better: then
	// the first signs count.
	alone     bool
	fellBelow bool   // see [Estimator.EstimateFell]
	rounds    uint16 // so far; wraps

	past   uint16 // milliseconds between this round and the one before it
	queued uint16 // and the queue in that, likewise

	rtt      time.Duration
	least    time.Duration // round trip
	leastAt  time.Duration
	reported time.Duration
}

// Report takes a reception report block.
func (e *Estimator) Report(now time.Time, r Report) {
	at := e.at(now)
	e.countSent()
	e.heard.report(at)
	e.coarse.report(at, r, e.heard.sent)
	if r.RoundTrip > 0 && e.fine == nil {
		e.rtt = r.RoundTrip
	}
	e.coarsely(at)
}

// Estimate takes the viewer's own estimate (REMB), in bits a second.
func (e *Estimator) Estimate(now time.Time, bitrate float64) {
	if !(bitrate > 0) { // nor a number at all
		return
	}
	at := e.at(now)
	e.countSent()
	e.heard.remoteEstimate(at)
	sent := e.sent.until(at, longWindow)
	fell := e.coarse.falls(at, bitrate)
	if e.probe.counts(at) && e.coarse.fellAt < e.probe.from {
		sent = min(sent, bitrate)
	}
	e.coarse.remote(at, bitrate, sent, fell)
	e.coarse.fellBelow = e.coarse.fellBelow || fell && e.coarse.alone && bitrate < below*sent
	e.coarsely(at)
}

// EstimateFell reports whether the viewer's own estimate has fallen below what is sent, since
// EstimateFell was called last, where only reports can tell whether there is a queue. Then the
// round trip should be measured soon.
func (e *Estimator) EstimateFell() bool {
	yes := e.coarse.fellBelow
	e.coarse.fellBelow = false
	return yes
}

// counts reports whether the rate of what is sent has a probe in it. Viewers raise their
// estimates by a few percent a second, so an estimate that is lower than that rate says
// nothing against the probe. One that has fallen since the probe began does.
func (p *probe) counts(at time.Duration) bool {
	return p != nil && p.plan.Rate > 0 && at >= p.from && at <= p.to+longWindow*rateSlot
}

// Nack tells that the viewer has asked for packets again. That is no more than a reason to look
// more closely: packets that overtake one another cause requests, too, and so do repairs that
// come late.
func (e *Estimator) Nack(packets int) {
	e.coarse.nacked = min(e.coarse.nacked+uint32(min(max(packets, 0), 1<<16)), 1<<16)
}

// coarsely moves the estimate by what the coarse sources say, if there is no better.
func (e *Estimator) coarsely(at time.Duration) {
	sent := e.sent.until(at, longWindow)
	e.peak.update(at, sent)
	source := e.heard.source(at, e.fine != nil)
	if source == TransportFeedback {
		return
	}
	var s State
	s.Source, s.Sent = source, sent
	e.coarse.tell(&s, at)
	switch {
	case s.Verdict == Overuse && source == Reports && e.coarse.alone && !e.lowers(at):
	case s.Verdict == Overuse:
		e.setBitrate(min(e.bitrate, e.coarse.carried(source, sent, s.Loss)), s.LimitedBy)
	case source == ReceiverEstimate:
		e.setBitrate(min(e.coarse.estimate, max(headroom*e.peak.rate+headroomExtra, min(e.bitrate, e.start))), ByApplication)
	case e.coarse.bad == 0:
		e.raise(at, s.Acknowledged)
	}
}

// lowers reports whether the estimate may be lowered: for a while, in which more becomes known,
// and then only once it can have shown.
func (e *Estimator) lowers(at time.Duration) bool {
	past := at - e.lowered
	if e.lowered == 0 || past >= coarseAnswer+e.rtt {
		e.lowered, past = at, 0
	}
	return past < lowersFor
}

// report adds a block to its round: reports about several streams come together.
func (c *coarse) report(at time.Duration, r Report, sent uint64) {
	if at-c.round > roundSpan {
		c.begin(at, sent)
	}
	i := c.index(r.SSRC)
	expected := r.Highest - c.heard[i].highest
	if c.heard[i].ssrc != r.SSRC || expected > 1<<15 { // the first of this stream, or a jump
		c.heard[i].ssrc, expected = r.SSRC, min(r.Sent, 1<<15)
	}
	c.heard[i].highest = r.Highest
	c.expected += expected
	c.lost += float32(expected) * float32(r.Lost) / 256
	c.roundTrip(at, r.RoundTrip)
	c.reported = at
	c.judge()
}

// index returns where a stream is kept; the last place is for all that find none.
func (c *coarse) index(ssrc uint32) int {
	for i := range streams - 1 {
		if c.heard[i].ssrc == ssrc || c.heard[i].ssrc == 0 {
			return i
		}
	}
	return streams - 1
}

func (c *coarse) roundTrip(at, rtt time.Duration) {
	if rtt <= 0 {
		return
	}
	switch {
	case c.least == 0 || rtt <= c.least:
		c.least, c.leastAt = rtt, at
	case at-c.leastAt > leastLasts: // the path may have become longer
		c.least += (rtt - c.least) / 16
	}
	c.rtt = rtt
}

// queue returns by how much the round trip has grown.
func (c *coarse) queue() time.Duration { return c.rtt - c.least }

// begin begins a round of reports, after the last has taught what the path loses. The first
// teaches nothing: it tells of the burst at the start.
func (c *coarse) begin(at time.Duration, sent uint64) {
	if c.expected >= leastPackets && c.queue() < sawQueue && c.rounds > 1 {
		weight := 0.2
		if c.loss < c.inherent {
			weight = 0.3
		}
		c.inherent = min(c.inherent+weight*(c.loss-c.inherent), mostInherent)
	}
	if c.expected < leastPackets { // so little is sent that nothing is known any more
		c.bad, c.loss = 0, 0
	}
	c.past, c.queued = milliseconds(at-c.round), milliseconds(c.queue())
	c.round, c.badBefore = at, c.bad
	if c.rounds++; c.rounds == 0 { // it tells one round from another
		c.rounds = firstRounds + 1
	}
	c.expected, c.lost, c.nacked, c.roundAt = 0, 0, 0, sent
}

// milliseconds returns a time that is not negative, as far as it can be told.
func milliseconds(d time.Duration) uint16 { return uint16(min(d.Milliseconds(), math.MaxUint16)) }

// judge judges the present round by what it has said so far. In the first rounds it takes more
// loss to need no confirmation: they tell of the burst with which a viewer begins, whose packets
// overtake one another, and those count as lost that are still on their way.
func (c *coarse) judge() {
	if c.expected < leastPackets {
		return
	}
	c.loss, c.judged = float64(c.lost)/float64(c.expected), c.expected
	heavy := c.excess() > reportedLoss
	switch drains := c.queue()+sawQueue < time.Duration(c.queued)*time.Millisecond; {
	case c.alone && drains && !heavy:
		c.bad = 0
	case heavy && (c.queue() > sawQueue || c.excess() > c.certainLoss()), c.alone && c.queue() > longQueue && c.badBefore > 0:
		c.bad = c.badBefore + certain
	case heavy || c.queue() > reportedQueue:
		c.bad = c.badBefore + certain/2
	case c.alone && c.queue() > standsAbove:
		c.bad = c.badBefore + certain/3
	default:
		c.bad = 0
	}
}

// certainLoss returns the loss, above the inherent, that needs no confirmation.
func (c *coarse) certainLoss() float64 {
	if c.rounds <= firstRounds {
		return firstLoss
	}
	return 2 * reportedLoss
}

// excess returns the loss beyond what the path always loses and what chance explains.
func (c *coarse) excess() float64 { return c.loss - c.inherent - c.chance() }

// chance returns how much of the loss chance explains, which is the more the fewer packets
// were reported: up to three standard deviations at a loss of 5 %.
func (c *coarse) chance() float64 {
	return lossByChance / math.Sqrt(float64(max(c.judged, leastPackets)))
}

// falls reports whether a REMB is lower than the one before it, and notes when.
func (c *coarse) falls(at time.Duration, bitrate float64) bool {
	fell := bitrate < fallen*c.estimate
	if fell {
		c.fellAt = at
	}
	return fell
}

// remote takes a REMB. sent is the rate at which is sent.
func (c *coarse) remote(at time.Duration, bitrate, sent float64, fell bool) {
	c.estimate, c.estimateAt = bitrate, at
	switch {
	case bitrate >= below*sent:
		c.lowSince, c.complains = 0, false
		return
	case c.lowSince == 0:
		c.lowSince = at
	}
	c.complains = c.complains || fell || bitrate < farBelow*sent
}

// tell adds the verdict of the coarse sources.
func (c *coarse) tell(s *State, at time.Duration) {
	s.Loss, s.Inherent, s.Queue, s.Reports = c.loss, c.inherent, c.queue(), c.rounds
	s.Acknowledged = s.Sent * (1 - s.Loss)
	low := c.lowSince != 0 && at-c.estimateAt < fresh
	if low && s.Source == ReceiverEstimate {
		s.Acknowledged = min(s.Acknowledged, c.estimate/decrease)
	}
	switch {
	case s.Source == ReceiverEstimate && low && c.estimate < farBelow*s.Sent && at-c.lowSince >= 0:
		s.Verdict, s.LimitedBy = Overuse, ByDelay
	case s.Source == ReceiverEstimate && low && at-c.lowSince > estimateLasts && c.confirmed():
		s.Verdict, s.LimitedBy = Overuse, ByDelay
	case c.bad >= certain && at-c.reported < fresh && c.excess() > reportedLoss:
		s.Verdict, s.LimitedBy = Overuse, ByLoss
	case c.bad >= certain && at-c.reported < fresh:
		s.Verdict, s.LimitedBy = Overuse, ByDelay
	}
}

// confirmed reports whether reports agree with a low estimate.
func (c *coarse) confirmed() bool {
	return c.queue() > sawQueue || c.excess() > lossMargin
}

// carried returns what seems to get through, at a loss of late.
func (c *coarse) carried(source Source, sent, loss float64) float64 {
	if source == ReceiverEstimate && c.lowSince != 0 { // it has measured what arrives
		return c.estimate
	}
	return decrease * sent * min(1-loss, c.passed())
}

// passed returns the part of what is sent that gets through, as the last two rounds of reports
// show it: the rest of what was sent between them was lost, or is in a queue that has grown. If
// all was well in the first of them, that has begun at some time since. It is as likely to have
// at any time that leaves enough to lose as much, so on average in the middle of those.
func (c *coarse) passed() float64 {
	if c.rounds <= 1 || !c.alone { // it has been so from the first packet on
		return 1 - c.loss
	}
	grown := max(0, float64(milliseconds(c.queue()))-float64(c.queued)) / float64(c.past)
	if c.badBefore == 0 && c.queued < milliseconds(sawQueue) {
		return (1 - c.loss) / (1 + c.loss + 2*grown)
	}
	return (1 - c.loss) / (1 + grown)
}

// objects reports whether anything since a time speaks against what was sent then, and
// whether that did harm. It takes less for that than for a step down: a probe that is
// refused is made again.
func (c *coarse) objects(since time.Duration) (objects, harm bool) {
	switch lost := c.excess()+c.chance()/2 > lossMargin; {
	case c.reported <= since:
	case c.alone:
		objects, harm = lost || c.bad > 0 || c.queue() > objectedQueue, c.excess() > reportedLoss || c.queue() > harmfulQueue
	default:
		harm = lost || c.bad > 0 || c.queue() > reportedQueue
		objects = harm
	}
	return objects || c.fellAt > since, harm
}

// asksMuch reports whether the viewer asks for many packets again.
func (c *coarse) asksMuch(sent uint64) bool {
	return c.nacked >= leastPackets && float64(c.nacked) > muchAsked*float64(sent-c.roundAt)
}

// trouble reports whether there is reason to look more closely.
func (c *coarse) trouble(at time.Duration, sent uint64) bool {
	if at-c.estimateAt < fresh && c.complains || c.asksMuch(sent) {
		return true
	}
	if at-c.reported >= fresh {
		return false
	}
	return c.bad > 0 || c.excess()+c.chance()/2 > troublesome || c.queue() > sawQueue
}
