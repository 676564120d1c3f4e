package send

import (
	"time"

	"github.com/deltacdn/delta/internal/send/allot"
	"github.com/deltacdn/delta/internal/send/bwe"
)

// A viewer's path may not take a keyframe of a hundred packets at once: a queue of twenty
// in a home router drops the others, and sound with them. So such a burst leaves in groups,
// at the rate that the path is taken to carry. What waits stays in the ring, and nothing of
// the viewer waits but its cursor.
//
// The pacer knows when the path will have taken all that was sent. While that is ahead,
// video waits, but for the first packets of a burst. Sound does not wait. Its bytes count. So
// do those of repairs while a burst waits. Padding does not: a probe has a rate above the estimate
// on purpose, and media are part of that rate. Video that waited for padding would not
// leave until the probe was over.
const (
	// burstPackets is how many packets leave at once at most (RFC 9002 section 7.7), and
	// burstTime how long the path takes for them: on a narrow one ten would overfill the queue
	// of a small router.
	burstPackets = 10
	burstTime    = 40 * time.Millisecond
	// groupTime bounds a group that leaves after them: the path takes so long for it.
	groupTime = 10 * time.Millisecond
	// groupEarly is how much of the group before may be on its way when one leaves. Timers
	// are not precise, and the rate would not be reached.
	groupEarly = 2 * time.Millisecond
	// madeUp is how much of the time is made up for by which a group leaves too late since
	// the node was busy: all that does not have the burst left out.
	madeUp = hopeless
	// mostAhead bounds for how long the path is taken to be busy. Repairs, sound and a queue do
	// not hold video up for longer.
	mostAhead = time.Second
	// leastRate is the least rate, in bits a second: a keyframe must end some time.
	leastRate = 50e3

	// pacedPacket is the size of a large packet, with headers: a group ends where it would
	// not fit.
	pacedPacket = 1250

	// DefaultStartRate is what a path is taken to carry until there is feedback, in bits a
	// second, or startFactor times the bitrate of what is sent if that is more.
	DefaultStartRate = 5e6
	startFactor      = 2
	// drainFactor times the bitrate of what is sent is the lowest rate: whatever the
	// estimate is, a burst ends, and no delay remains.
	drainFactor = 1.5
)

// A pacer says when video may leave for one viewer. Times in it count from its epoch. The
// zero pacer paces nothing.
type pacer struct {
	until   time.Duration // when the path has taken all that was sent
	due     time.Duration // when the next group may leave, if it may not leave now
	perByte float32       // nanoseconds that the path takes for a byte; 0: nothing is paced
	burst   uint8         // packets that have left since the path was idle, up to most
	most    uint8         // packets that leave at once
	waits   bool          // a packet waits for the next group
	epoch   time.Time
}

// setRate sets what the path is taken to carry, in bits a second, and how many packets leave
// at once. The rate is leastRate at least.
func (p *pacer) setRate(now time.Time, rate float64, most int) {
	if p.epoch.IsZero() {
		p.epoch = now
	}
	p.perByte, p.most = float32(8e9/max(rate, leastRate)), uint8(most)
}

// takes returns how long the path takes for n bytes.
func (p *pacer) takes(n int) time.Duration { return time.Duration(p.perByte * float32(n)) }

// open reports whether a packet of video may leave. If not, due is when the next may.
func (p *pacer) open(now time.Time) bool {
	if p.perByte == 0 {
		return true
	}
	at := now.Sub(p.epoch)
	switch {
	case p.waits && at < p.due:
		return false
	case p.waits:
		p.until = max(p.until, at-madeUp)
	case p.until <= at:
		p.until, p.burst = at, 0
		return true
	case p.burst < p.most:
		return true
	}
	if p.until-at <= groupEarly || p.until+p.takes(pacedPacket)-at <= groupTime {
		return true
	}
	p.due = p.until - groupEarly
	return false
}

// sent notes that a packet of n bytes has left. That of sound is none of a burst.
func (p *pacer) sent(now time.Time, n int, sound bool) {
	if p.perByte == 0 {
		return
	}
	at := now.Sub(p.epoch)
	if p.until < at && !p.waits {
		p.until, p.burst = at, 0
	}
	p.until = min(p.until+p.takes(n+lowerHeaders), at+mostAhead)
	if !sound && p.burst < p.most {
		p.burst++
	}
}

// repaired notes that a packet of n bytes was sent again, as a repair. It counts while video
// waits, and holds that up for no longer than a group takes. At other times it holds nothing
// up: what leaves at once must leave when it comes.
func (p *pacer) repaired(now time.Time, n int) {
	if !p.waits {
		return
	}
	at := now.Sub(p.epoch)
	p.until = max(p.until, min(p.until+p.takes(n+lowerHeaders), at+groupTime))
}

// hold takes the path to be busy for a while, up to mostAhead.
func (p *pacer) hold(now time.Time, d time.Duration) {
	if p.perByte > 0 {
		p.until, p.burst = max(p.until, now.Sub(p.epoch)+min(d, mostAhead)), p.most
	}
}

// onItsWay returns how many bytes have left that the path, at the pacer's rate, has not carried yet.
func (p *pacer) onItsWay(now time.Time) uint64 {
	if ahead := p.until - now.Sub(p.epoch); p.perByte > 0 && ahead > 0 {
		return uint64(float32(ahead) / p.perByte)
	}
	return 0
}

// dueAt returns when the next group may leave.
func (p *pacer) dueAt() time.Time { return p.epoch.Add(p.due) }

// rate returns what the viewer's path carries by its feedback, in bits a second; 0: that
// is not known.
func (s *Set) rate(now time.Time) float64 {
	if t := s.config.Trunk; t != nil {
		return t.rate(now)
	}
	if s.path != nil {
		return s.path.estimator.Bitrate(now)
	}
	return 0
}

// repace sets the rate at which bursts leave. To a node they leave at once, unless the path
// is known to be narrow. The path of a viewer that is sent a part of a layer is known to be so,
// whatever the configuration.
func (s *Set) repace(now time.Time) {
	switch a := s.adaptation; {
	case s.config.Node && s.rate(now) == 0:
		s.pace.perByte = 0
	case a != nil && a.path.estimator != nil && (a.sent.Mode == allot.Keyframes || a.sent.Mode == allot.Partial):
		rate, most := a.partRate(now), 1
		if !a.probes() { // sound would wait behind padding and a burst
			most = atOnce(rate, partBurst, 1)
		}
		s.pace.setRate(now, rate, most)
	case s.near:
		s.pace.perByte = 0
	case s.config.Node || s.config.StartRate > 0:
		rate := s.paceRate(now)
		s.pace.setRate(now, rate, atOnce(rate, burstTime, 2))
	case s.pace.perByte > 0: // it was sent a part of a layer
		s.pace = pacer{}
	}
}

// atOnce returns how many packets leave at once: those for which the path takes so long, the
// least at least.
func atOnce(rate float64, takes time.Duration, least int) int {
	return min(max(int(rate*takes.Seconds()/(8*pacedPacket)), least), burstPackets)
}

const (
	// partBurst is how long the path takes for what leaves at once of a part of a layer.
	// Sound waits behind it.
	partBurst = 20 * time.Millisecond
	// partShare is how much of the estimate a part of a layer takes: sound is not paced, and an
	// estimate may be somewhat too high where little is sent.
	partShare = 0.72
	// partSlack is how much faster than its rate a part of a layer leaves, so that it does not
	// get later and later.
	partSlack = 1.1
)

// partRate returns the rate at which a part of a layer leaves, in bits a second: about the rate by
// which it was chosen, with sound, whose bytes count, too. An estimate may be far above that only because
// so much was never tried, and sound would wait. Keyframes alone leave faster if the estimate
// allows, and no slower: estimates are low while little is sent. If the path does not take that, the
// policy gives them up.
func (a *adaptation) partRate(now time.Time) float64 {
	state := a.path.estimator.State(now)
	rate := partShare * state.Bitrate
	switch {
	case state.Verdict == bwe.Overuse && a.fellLately(now):
		return rate
	case a.sent.Mode == allot.Partial:
		return partSlack * a.sent.Cost
	}
	return max(rate, a.sent.Cost)
}

// paceRate returns the rate at which bursts leave, in bits a second.
func (s *Set) paceRate(now time.Time) float64 {
	sent := 0.0
	for _, snd := range s.senders {
		if snd.mode != idle {
			sent += snd.pacedRate()
		}
	}
	if known := s.rate(now); known > 0 {
		if t := s.config.Trunk; t != nil {
			known *= t.share(now, sent)
		}
		return max(min(known, s.drainRate(now)), drainFactor*sent)
	}
	return max(s.startRate(), startFactor*sent)
}

// startRate returns what the path is taken to carry at first, in bits a second.
func (s *Set) startRate() float64 {
	if s.config.StartRate > 0 {
		return s.config.StartRate
	}
	return DefaultStartRate
}

// mayLeave reports whether a packet may leave by the pacer. A receiver by TCP has no use
// for pacing: its connection takes what it can.
func (s *Sender) mayLeave(now time.Time) bool {
	return !s.video || s.set.room != nil || s.set.pace.open(now)
}
