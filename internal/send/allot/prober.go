package allot

import (
	"time"

	"github.com/deltacdn/delta/internal/send/bwe"
	"github.com/deltacdn/delta/internal/send/instant"
)

// What a probe is like. It asks for somewhat more than it needs, and goes only so far
// above what is known to get through: a rung that is further away takes several
// probes.
const (
	over       = 1.05 // what it asks for, as a multiple of what it needs
	coarseNeed = 1.10 // what it needs more where only coarse reports tell
	mostTarget = 2.5  // the cost of the rung that it is for, at most, as a multiple of what arrives
	double     = 2.0  // how far above what is known to get through it goes
	gently     = 1.15 // the same, where less than a layer gets through: sound must not wait
	coarsely   = 1.35 // the same, where only coarse reports tell

	leastReach = 150e3 // bits a second
	recent     = 3 * time.Second

	probeTime   = 100 * time.Millisecond
	mostTime    = 500 * time.Millisecond
	coarseTime  = 600 * time.Millisecond // then its queue shows in a round trip
	aloneTime   = 400 * time.Millisecond // the same, where reports alone can tell
	jitterTimes = 8                      // a probe lasts this many times the jitter
	probeBits   = 12 * 1200 * 8          // at least
)

// When probes are sent.
const (
	firstProbe     = 400 * time.Millisecond // after the start
	quiet          = 500 * time.Millisecond // without congestion ahead of a probe
	losesMuch      = 0.1                    // above what the path loses anyway: likely congestion
	backoff        = 1.5
	mostWait       = 2 * time.Minute
	harmless       = 6 * time.Second  // the longest wait after probes that did no harm
	harmlessCoarse = 15 * time.Second // the same, while better feedback is missing
	mostVain       = 10               // empty probes in a row; then the wait is harmless
	unanswered     = 5 * time.Second
	succeeded      = 0.95 // of the rate that was asked for
)

// A probe makes a queue. That is not the fault of what is sent else, until it should
// have gone.
const (
	drains    = 400 * time.Millisecond
	mostQueue = 200 * time.Millisecond // more than a probe makes
)

// A prober says when to probe and how much, and reads the answers.
type prober struct {
	temper    temper
	wait      time.Duration // the present one between a failure and the next probe
	next      instant.T     // when the next may begin
	congested instant.T     // when the path was last
	last      bwe.Probe
	asked     instant.T // when the last began; 0: there was none
	open      bool      // it has not been answered
	vain      uint8     // how many of the last, in a row, were nearly empty
	reports   reports   // since then
	carried   float64   // what the last did that was a step on the way, in bits a second
	answered  instant.T // when that was known
}

func (p *prober) watch(v View, congested bool) {
	p.reports.watch(v, p.asked, p.last.Duration)
	if congested {
		p.congested = v.at
	}
	if p.open && v.at.Since(p.asked) > p.last.Duration+unanswered {
		p.open = false
	}
}

func (p *prober) putOff(now instant.T, by time.Duration) { p.next = now.Add(by) }

// reset forgets failures.
func (p *prober) reset() { p.wait, p.vain = p.temper.hold, 0 }

// restart forgets failures, and probes soon.
func (p *prober) restart(now instant.T) {
	p.reset()
	p.putOff(now, quiet)
}

// longer makes the wait longer.
func (p *prober) longer() { p.wait = min(time.Duration(backoff*float64(p.wait)), mostWait) }

// fell forgets what probes have carried, and puts off the next.
func (p *prober) fell(v View) {
	if v.State.Alone {
		p.carried = 0
	}
	p.again(v.at)
}

// again gives up a probe that is under way, and puts off the next by the wait.
func (p *prober) again(now instant.T) {
	p.open = false
	p.putOff(now, p.wait)
}

// ready reports whether it is time for a probe. changed is when the last step was taken.
func (p *prober) ready(v View, changed instant.T) bool {
	return !p.open && v.at >= p.next && p.free(v, changed)
}

// free reports whether the path shows no congestion. Losses show before the verdict does; coarse
// reports of losses are of the past.
func (p *prober) free(v View, changed instant.T) bool {
	s := &v.State
	return v.at.Since(p.congested) > quiet &&
		v.at.Since(changed) > max(quiet, 2*s.RoundTrip) &&
		(s.Source != bwe.TransportFeedback || s.Loss <= s.Inherent+losesMuch)
}

// causedBy reports whether the congestion is what the last probe has caused, and may
// pass. The probe has failed then. A probe does not cause that far less arrives than the rung
// at which is sent takes.
func (p *prober) causedBy(v View, at int) bool {
	s := &v.State
	fine := s.Source == bwe.TransportFeedback
	lasts := p.last.Duration + 2*max(s.RoundTrip-s.Queue, 0) + drains
	if !fine {
		lasts += effectCoarse
	}
	switch {
	case s.Alone && p.reports.count >= shown,
		p.asked == 0 || v.at.Since(p.asked) > lasts || s.Queue > mostQueue,
		fine && s.Acknowledged < starvedPart*v.Ladder[at].Cost:
		return false
	}
	if p.open {
		p.refused(v)
	}
	return true
}

// answer returns the highest rung that a probe has found room for. It is at or lower
// if there is no answer, or not that one.
func (p *prober) answer(v View, at int) int {
	r := v.State.Probe
	if !p.open || !r.Done || r.ID != p.last.ID {
		return at
	}
	p.open = false
	if !r.Unknown {
		p.vain = 0
	}
	to := at
	if !r.Harm {
		to = max(at, v.Ladder.Fitting(r.Rate/p.need(v)))
	}
	switch next := v.Ladder[min(at+1, len(v.Ladder)-1)]; {
	case to > at && v.State.Source == bwe.TransportFeedback:
		p.putOff(v.at, quiet)
	case to > at:
		p.putOff(v.at, p.temper.hold)
	case r.Unknown: // it says nothing against what the one before it has carried
		p.toldNothing(v.at, r.Empty)
		if p.asked.Since(p.answered) < harmlessCoarse { // that was a probe or two ago
			p.answered = v.at
		}
	case !r.Harm && r.Rate > succeeded*p.last.Rate && r.Rate < p.need(v)*next.Cost:
		p.carried, p.answered = r.Rate, v.at
	default:
		p.refused(v)
	}
	return to
}

// toldNothing puts off the next probe after one of which nothing is known. If the messages about it
// were lost, the next is made soon. If it was empty, since there was hardly anything to repeat, the
// next is likely to be empty, too, and waits the longer the more of them there were.
func (p *prober) toldNothing(now instant.T, empty bool) {
	wait := quiet
	if empty {
		for range p.vain {
			wait = min(time.Duration(backoff*float64(wait)), harmless)
		}
		p.vain = min(p.vain+1, mostVain)
	}
	p.putOff(now, wait)
}

// refused puts off the next probe after one that failed.
func (p *prober) refused(v View) {
	most := harmless
	switch s := &v.State; {
	case s.Probe.Harm && s.Alone:
		most, p.carried = mostWait, 0
	case s.Probe.Harm:
		most = mostWait
	case s.Source != bwe.TransportFeedback && !s.Alone:
		most = harmlessCoarse
	}
	if p.wait < most {
		p.longer()
		p.wait = min(p.wait, most)
	}
	p.again(v.at)
	if v.State.Alone {
		p.answered = p.next // the next one need not show once more what the one before it did
	}
}

// plan begins a probe for the highest rung within reach.
func (p *prober) plan(v View, at int) bwe.Probe {
	return p.planFor(v, at, max(at+1, v.Ladder.Fitting(mostTarget*max(v.State.Acknowledged, v.Ladder[at].Cost)/p.need(v))))
}

// planFor begins a probe for a rung. It goes no further than what is within reach.
func (p *prober) planFor(v View, at, to int) bwe.Probe {
	s := &v.State
	rate := min(p.need(v)*over*v.Ladder[to].Cost, p.further(v, at)*p.reached(v, at))
	long := max(probeTime, time.Duration(probeBits/rate*float64(time.Second)))
	if s.Source == bwe.TransportFeedback {
		long = min(max(long, jitterTimes*s.Jitter), mostTime)
	} else {
		long = coarseTime
	}
	if s.Alone {
		long = aloneTime
	}
	p.last = bwe.Probe{ID: p.last.ID + 1, Rate: rate, Duration: long}
	p.asked, p.open = v.at, true
	return p.last
}

// need returns what a probe must carry, as a multiple of the cost.
func (p *prober) need(v View) float64 {
	if v.State.Source != bwe.TransportFeedback {
		return coarseNeed * p.temper.need
	}
	return p.temper.need
}

// further returns how far above what is known to get through a probe goes.
func (p *prober) further(v View, at int) float64 {
	switch {
	case v.Ladder[at].Mode < Full:
		return gently
	case v.State.Source != bwe.TransportFeedback:
		return coarsely
	}
	return double
}

// reached returns what is known to get through.
func (p *prober) reached(v View, at int) float64 {
	rate := max(v.State.Acknowledged, leastReach)
	if v.Ladder[at].Mode == Full { // a part's is that of its peaks, which the pacer takes away
		rate = max(rate, v.Ladder[at].Cost)
	}
	if v.at.Since(p.answered) < recent {
		rate = max(rate, p.carried)
	}
	return rate
}
