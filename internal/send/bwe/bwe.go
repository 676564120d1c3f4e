// Package bwe estimates, at the sender, what the path to one viewer carries.
//
// It listens to what the viewer reports: transport-wide feedback
// (draft-holmer-rmcat-transport-wide-cc-extensions-01), bandwidth estimates (REMB,
// draft-alvestrand-rmcat-remb-03), receiver reports (RFC 3550 section 6.4.2) and
// NACKs (RFC 4585 section 6.2.1). From transport-wide feedback it derives how the
// one-way delay develops (a trend line over groups of packets with an adaptive
// threshold, as draft-ietf-rmcat-gcc-02 describes, and the queue that stands), how
// many packets are lost beyond what the path loses anyway, and how much arrives.
//
// It is pure: time is an argument, there is no clock, lock or goroutine, and in
// steady state no allocation. A viewer that has the best there is needs no
// estimate: then the [Estimator] dozes, holds no memory for packets, and only
// watches the coarse reports.
//
// What a viewer claims cannot lift the estimate above its cap, nor above what was
// sent: acknowledgements of packets that were not sent are ignored, and the rate
// that is acknowledged counts up to the rate that was sent.
package bwe

import "time"

// A Verdict is how the path takes what is sent.
type Verdict uint8

// The verdicts.
const (
	Normal   Verdict = iota
	Overuse          // a queue grows or stands, or packets are lost because of the rate
	Underuse         // a queue drains
)

// A Limit is what keeps the estimate from being higher.
type Limit uint8

// The limits.
const (
	ByApplication Limit = iota // no more is sent
	ByDelay                    // a queue was seen
	ByLoss                     // losses were seen
	ByCap                      // the viewer's cap
)

// A Source is what the estimate comes from.
type Source uint8

// The sources, the best first.
const (
	TransportFeedback Source = iota // transport-wide feedback
	ReceiverEstimate                // REMB
	Reports                         // receiver reports and NACKs
	Nothing                         // the viewer is silent
)

func (s Source) String() string {
	return [...]string{"transport", "remb", "reports", "nothing"}[s]
}

// Config sets up an [Estimator].
type Config struct {
	// Start is the estimate until something is known, in bits a second. If zero,
	// 5 Mbit/s.
	Start float64
	// Cap bounds the estimate, in bits a second. If zero, there is no bound.
	Cap float64
	// TransportFeedback and ReceiverEstimate say whether the viewer has
	// negotiated to send them. They may fail to come all the same.
	TransportFeedback, ReceiverEstimate bool
}

const (
	defaultStart = 5e6
	leastRate    = 30e3
)

// A State is what an [Estimator] knows at one moment. Rates are in bits a second,
// with everything that was counted as the size of a packet.
type State struct {
	Bitrate      float64 // the estimate
	Verdict      Verdict
	LimitedBy    Limit
	Source       Source
	Acknowledged float64       // the rate at which packets arrive
	Sent         float64       // the rate at which packets are sent
	RoundTrip    time.Duration // 0: unknown
	Queue        time.Duration // the queue that stands at the least
	Jitter       time.Duration // how much the delay of packets varies
	Loss         float64       // the part of packets lost lately, 0 to 1
	Inherent     float64       // the part that the path loses at any rate, 0 to 1
	Alone        bool          // no transport-wide feedback is negotiated, which would know better
	Reports      uint16        // how many receiver reports have come, unless there is transport-wide feedback
	// Trouble is set if a coarse report says that something is wrong. A sender
	// whose estimator dozes wakes it.
	Trouble bool
	Probe   ProbeResult // of the last probe
}

// fullQueue is the least queue that shows that a path is full. Jitter and the bursts of frames make
// shorter ones.
const fullQueue = 100 * time.Millisecond

// Full reports whether more is sent than the path carries, or a queue stands there. After it has
// lowered the estimate an estimator has no verdict for a while, though the queue has yet to drain.
func (s *State) Full() bool { return s.Verdict == Overuse || s.Queue > fullQueue }

// An Estimator estimates for one viewer. It is not safe for concurrent use. The
// times that it is given must not go back.
type Estimator struct {
	epoch    time.Time
	fine     *fine // nil while the estimator dozes
	cap      float64
	start    float64
	bitrate  float64
	ceiling  float64       // what the path carried when it was full last; 0: unknown, or more
	updated  time.Duration // when bitrate was last increased or held
	lowered  time.Duration // when bitrate was last decreased
	limit    Limit
	overused bool // the last verdict from transport-wide feedback
	underuse bool
	rtt      time.Duration

	sent   rates
	peak   peak
	heard  watchdog
	coarse coarse
	probe  *probe // the last; nil: there was none since the estimator dozed
}

// fine is what transport-wide feedback needs. It is allocated on waking.
type fine struct {
	sent    departures // that are not counted yet
	ring    ring
	read    reader
	arrived rates
	delay   delay
	loss    loss
	measure measure // of the present probe

	measured bool // the round trip, since waking
	lowered  bool // the estimate, since waking
}

// New returns an estimator that dozes.
func New(c Config, now time.Time) *Estimator {
	e := &Estimator{epoch: now, start: c.Start}
	if e.start <= 0 {
		e.start = defaultStart
	}
	e.heard.fineNegotiated, e.heard.remoteNegotiated = c.TransportFeedback, c.ReceiverEstimate
	e.coarse.alone = !c.TransportFeedback
	e.bitrate = e.start
	e.sent.reset(0)
	e.SetCap(c.Cap)
	return e
}

// SetCap bounds the estimate, in bits a second; 0: no bound.
func (e *Estimator) SetCap(bitrate float64) {
	e.cap = bitrate
	e.setBitrate(e.bitrate, e.limit)
}

// at returns now as the time since the estimator was made.
func (e *Estimator) at(now time.Time) time.Duration { return max(0, now.Sub(e.epoch)) }

// Wake makes the estimator ready for transport-wide feedback: from now on, packets
// carry transport-wide sequence numbers and are told to [Estimator.Sent]. It does
// nothing if the estimator is awake, or transport-wide feedback is not negotiated.
func (e *Estimator) Wake(now time.Time) {
	if e.fine != nil || !e.heard.fineNegotiated {
		return
	}
	e.fine = &fine{}
	e.fine.ring.init()
	e.fine.delay.init()
	e.fine.loss.init()
	e.overused, e.underuse = false, false
	e.heard.wake(e.at(now))
}

// Doze releases what [Estimator.Wake] has allocated.
func (e *Estimator) Doze() {
	e.countSent()
	e.fine = nil
	e.overused, e.underuse = false, false
	e.probe = nil
}

// Dozing reports whether the estimator dozes.
func (e *Estimator) Dozing() bool { return e.fine == nil }

// A Flag says what a packet is.
type Flag uint8

// The flags.
const (
	Media   Flag = 0
	Repair  Flag = 1 << iota // a retransmission that was asked for
	Padding                  // sent to probe
	Sound                    // of a stream of sound
)

// flagSets is how many sets of flags there are.
const flagSets = 2 * int(Sound)

// Sent tells of a packet of size bytes, headers included, that was sent with a
// transport-wide sequence number.
func (e *Estimator) Sent(seq uint16, now time.Time, size int, flags Flag) {
	at := e.at(now)
	switch f := e.fine; {
	case f == nil:
		e.count(at, 1, size)
	case !f.sent.add(at, seq, size, flags):
		e.countSent()
		f.sent.add(at, seq, size, flags)
	}
}

// SentPlain tells of packets of size bytes in all, headers included, that were sent
// without transport-wide sequence numbers since the last call.
func (e *Estimator) SentPlain(now time.Time, packets, size int) {
	at := e.at(now)
	e.countSent()
	e.count(at, packets, size)
	if e.fine != nil {
		e.fine.ring.plain += size
		if e.probe.during(at) {
			e.fine.measure.sent(at, size)
		}
	}
}

func (e *Estimator) count(at time.Duration, packets, size int) {
	e.sent.add(at, size)
	e.heard.sent += uint64(packets)
}

// Bitrate returns the Bitrate of State, without computing the rest.
func (e *Estimator) Bitrate(now time.Time) float64 {
	if e.probe.running() {
		e.countSent()
		e.probe.expire(e.at(now), e)
	}
	return e.bitrate
}

// Answer returns the Verdict and Probe of State, without computing the rest.
func (e *Estimator) Answer(now time.Time) (Verdict, ProbeResult) {
	e.countSent()
	if e.fine == nil || e.heard.source(e.at(now), true) != TransportFeedback {
		s := e.State(now)
		return s.Verdict, s.Probe
	}
	e.Bitrate(now) // a probe may be over
	return e.verdict(), e.probe.outcome()
}

// verdict returns that of transport-wide feedback.
func (e *Estimator) verdict() Verdict {
	switch {
	case e.overused:
		return Overuse
	case e.underuse:
		return Underuse
	}
	return Normal
}

// State returns what is known now.
func (e *Estimator) State(now time.Time) State {
	at := e.at(now)
	e.countSent()
	source := e.heard.source(at, e.fine != nil)
	e.probe.expire(at, e)
	s := State{
		Bitrate: e.bitrate, LimitedBy: e.limit, Source: source, RoundTrip: e.rtt,
		Sent: e.sent.until(at, longWindow), Probe: e.probe.outcome(),
	}
	s.Acknowledged, s.Alone = s.Sent, e.coarse.alone
	switch source {
	case TransportFeedback:
		e.fine.tell(&s, e)
	case ReceiverEstimate, Reports:
		e.coarse.tell(&s, at)
	case Nothing:
		s.Acknowledged = 0
	}
	s.Trouble = source == Nothing || e.coarse.trouble(at, e.heard.sent)
	return s
}

// tell adds what transport-wide feedback says.
func (f *fine) tell(s *State, e *Estimator) {
	s.Verdict = e.verdict()
	s.Acknowledged = e.plausible(f.arrived.complete(longWindow))
	s.Queue, s.Jitter = f.delay.standing(), f.delay.jitter()
	s.Loss, s.Inherent = f.loss.ratio(), f.loss.inherent
}

// plausible returns a rate that the viewer claims, as far as it can be true.
func (e *Estimator) plausible(rate float64) float64 { return min(rate, e.peak.rate) }

// setBitrate changes the estimate within its bounds.
func (e *Estimator) setBitrate(bitrate float64, l Limit) {
	e.bitrate, e.limit = max(bitrate, leastRate), l
	if e.cap > 0 && e.bitrate >= e.cap {
		e.bitrate, e.limit = e.cap, ByCap
	}
}
