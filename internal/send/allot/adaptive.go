package allot

import (
	"time"

	"github.com/deltacdn/delta/internal/send/bwe"
	"github.com/deltacdn/delta/internal/send/instant"
)

// When the effect of a step down is seen. Coarse reports come once a second, and the first
// after a step is about the time before it.
const (
	effectAfter  = 300 * time.Millisecond // and two round trips, and the queue
	effectCoarse = 2200 * time.Millisecond
	// LossShows is how long losses may be reported that were before the last step.
	LossShows = 1200 * time.Millisecond
)

// Several viewers may share a path. The one that climbed last, or sends far more than
// gets through, yields first.
const (
	yieldAfter        = 400 * time.Millisecond
	climberYieldAfter = 150 * time.Millisecond
	farTooMuch        = 0.75 // the part of what is sent that arrives at most
	proven            = 10 * time.Second
	provenCoarse      = 30 * time.Second
	provenAlone       = 12 * time.Second // where reports alone can tell
)

// The lowest moving picture is given up only if it does not get through. A cheap one
// is tried again without a probe: it does little harm, and there is nothing lower.
const (
	cheap        = 400e3 // bits a second
	starvedPart  = 0.6   // the part of what is sent that arrives at most
	starvedLoss  = 0.3   // above what the path loses anyway
	starves      = 300 * time.Millisecond
	starvesCheap = 1500 * time.Millisecond
	// spoiledLoss is the part lost, above what the path loses anyway, that leaves no picture
	// whole: a congested path has no room for repairs.
	spoiledLoss = 0.01
	// spoilsFor is how long that must last, less half of the time that it does not.
	spoilsFor = 2 * time.Second
	// thins is how long a part of a layer is sent at least: until then what is seen is mostly
	// what all of it did.
	thins = 2 * time.Second
)

const (
	silence   = 1500 * time.Millisecond // without reports: to the lowest layer
	dozeAfter = 10 * time.Second        // without trouble, at the top
)

// Adaptive is the project's [Policy].
//
//   - Down at once, when the path is congested: to the highest rung that the estimate
//     carries. Below the lowest moving picture only if that does not get through.
//   - Up only when a probe has carried more than the rung costs.
//   - After a failure it waits: for a probe that did no harm up to a few seconds, for
//     one that did, or a climb that was taken back, up to two minutes.
//   - A viewer that reports nothing gets the lowest layer, and is probed as soon as it
//     reports again.
type Adaptive struct {
	epoch  time.Time // when it was asked first; zero: it has made no choice
	rung   Rung      // the last choice
	prober prober

	changed  instant.T // when the last choice was made; 0: it has shown
	climbed  instant.T // when the last step up was; 0: it has succeeded, or failed
	over     instant.T // since when the path is congested; 0: it is not
	starved  instant.T // since when the lowest layer does not get through; 0: it does
	clean    instant.T // since when there has been no trouble
	estimate float64   // at the last choice
	failed   instant.T // when a step up was last taken back
	silent   instant.T // since when nothing is reported; 0: something is
	reports  reports
	spoiled  spoiled
}

// timed returns a view that knows its instant.
func (a *Adaptive) timed(v View) View {
	v.at = instant.At(a.epoch, v.Now)
	return v
}

// NewAdaptive returns the policy of one viewer.
func NewAdaptive(c Config) *Adaptive {
	t := c.Strategy.temper()
	if c.First != 0 {
		t.first = max(0, c.First)
	}
	return &Adaptive{prober: prober{temper: t, wait: t.hold}}
}

// Choose implements [Policy].
func (a *Adaptive) Choose(v View) Choice {
	if a.epoch.IsZero() {
		a.epoch = v.Now
		return a.start(a.timed(v))
	}
	v = a.timed(v)
	at, s := v.Ladder.Find(a.rung), &v.State
	a.reports.watch(v, a.changed, 0)
	congested := s.Verdict == bwe.Overuse
	a.prober.watch(v, congested)
	a.spoiled.watch(v.at, at <= v.Ladder.Lowest() && spoils(s))
	if s.Trouble || congested {
		a.clean = v.at
	}
	switch {
	case s.Source == bwe.Nothing:
		return a.silence(v, at)
	case congested:
		a.spoke(v)
		return a.descend(v, at)
	}
	a.spoke(v)
	a.starved, a.over = 0, 0
	if !v.Ladder[at].shows(a.rung) {
		return a.step(v, at, Limited)
	}
	return a.climb(v, at)
}

// Moved says that rungs have changed places: what is sent is at r now.
func (a *Adaptive) Moved(r Rung) { a.rung = r }

func (a *Adaptive) start(v View) Choice {
	a.clean = v.at
	a.prober.putOff(v.at, firstProbe)
	c := a.step(v, max(v.Ladder.Lowest(), v.Ladder.Fitting(a.prober.temper.first)), Start)
	a.changed = 0
	return c
}

// step changes to a rung.
func (a *Adaptive) step(v View, to int, r Reason) Choice {
	a.rung, a.changed, a.estimate, a.spoiled.lasted = v.Ladder[to], v.at, v.State.Bitrate, 0
	return Choice{Rung: to, Reason: r}
}

// silence handles a viewer that reports nothing. It gets the lowest layer, but all of that:
// receivers that never report, and there are some, are not shown every other frame for it.
func (a *Adaptive) silence(v View, at int) Choice {
	if a.silent == 0 {
		a.silent = v.at
	}
	whole := v.Ladder.lowestWhole()
	switch {
	case at > whole && v.at.Since(a.silent) >= silence:
		return a.step(v, whole, Silence)
	case at < v.Ladder.Lowest() && a.prober.ready(v, a.changed): // who is sent nothing has nothing to report
		return Choice{Rung: at, Probe: a.prober.plan(v, at)}
	}
	return Choice{Rung: at}
}

// spoke notes that the viewer reports.
func (a *Adaptive) spoke(v View) {
	if a.silent != 0 {
		a.silent = 0
		a.prober.restart(v.at)
	}
}

// descend steps down, unless the last step has yet to show, or what is seen may pass.
func (a *Adaptive) descend(v View, at int) Choice {
	s := &v.State
	if a.over == 0 {
		a.over = v.at
	}
	if !a.effectSeen(v) && !a.tooLittle(v, at) || a.oldLoss(v, at) || a.prober.causedBy(v, at) || a.waitsForOthers(v) {
		return Choice{Rung: at}
	}
	lowest := v.Ladder.Lowest()
	to := min(v.Ladder.Fitting(s.Bitrate), at-1)
	if to < lowest && !a.starves(v, at, lowest) && !a.isLate(v, at) {
		to = lowest
	}
	if to < 0 || to >= at {
		return Choice{Rung: at}
	}
	switch {
	case a.climbing(v):
		a.climbed, a.failed = 0, v.at
		a.prober.longer()
	case s.Alone && v.at.Since(a.failed) >= provenAlone: // what failed before says nothing of the path as it is now
		a.prober.reset()
	}
	a.prober.fell(v)
	if s.LimitedBy == bwe.ByLoss {
		return a.step(v, to, Loss)
	}
	return a.step(v, to, Congestion)
}

// effectSeen reports whether the effect of the last step has been seen.
func (a *Adaptive) effectSeen(v View) bool {
	s := &v.State
	long := effectAfter + 2*max(s.RoundTrip-s.Queue, 0) + s.Queue
	if s.Source != bwe.TransportFeedback {
		if s.Alone && a.reports.count >= shown {
			return true
		}
		long = effectCoarse + s.RoundTrip
	}
	return v.at.Since(a.changed) >= long
}

// tooLittle reports whether too much is sent since the last step, although the step has yet to show.
// What arrives was sent before the step. While a queue stands, that is what the path carries, so
// the estimate follows it: if it is lower than at the step, and lower than what is sent now, the
// step was too small, or was up and wrong. A part of a layer is always given the time to show.
func (a *Adaptive) tooLittle(v View, at int) bool {
	s, r := &v.State, &v.Ladder[at]
	return s.Source == bwe.TransportFeedback && s.LimitedBy == bwe.ByDelay && r.Mode == Full &&
		v.at.Since(a.changed) < effectAfter+s.RoundTrip && s.Bitrate < min(a.estimate, r.Cost)
}

// shown is how many reports show what a step has brought: the first is about the time before
// it.
const shown = 2

// reports counts those since the last step.
type reports struct {
	step  instant.T
	last  uint16
	count uint8
}

func (r *reports) watch(v View, step instant.T, lasts time.Duration) {
	s := &v.State
	if r.step != step {
		*r = reports{step: step, last: s.Reports}
	}
	if s.Reports != r.last {
		r.last = s.Reports
		if v.at.Since(step) > lasts+s.RoundTrip && r.count < shown {
			r.count++
		}
	}
}

// oldLoss reports whether the reported losses may be of packets that were sent before the last
// step: the step was a moment ago, and the estimate has room for what is sent now.
func (a *Adaptive) oldLoss(v View, at int) bool {
	return v.State.LimitedBy == bwe.ByLoss && v.State.Bitrate > v.Ladder[at].Cost && v.at.Since(a.changed) < LossShows
}

// climbing reports whether the last step up may have been wrong.
func (a *Adaptive) climbing(v View) bool {
	long := proven
	if v.State.Source != bwe.TransportFeedback {
		long = provenCoarse
	}
	if v.State.Alone {
		long = provenAlone
	}
	return a.climbed != 0 && v.at.Since(a.climbed) < long
}

// waitsForOthers reports whether to wait a little yet, since others may step down.
func (a *Adaptive) waitsForOthers(v View) bool {
	long := yieldAfter
	if a.climbing(v) || v.State.Alone { // what coarse reports tell has lasted for a while
		long = climberYieldAfter
	}
	return v.State.Acknowledged > farTooMuch*v.State.Sent && v.at.Since(a.over) < long
}

// starves reports whether the lowest moving picture has not got through for a while.
func (a *Adaptive) starves(v View, at, lowest int) bool {
	s := &v.State
	if at > lowest || v.Ladder[at].Mode < Full && v.at.Since(a.changed) < thins {
		return false
	}
	isCheap, after := v.Ladder[lowest].Cost < cheap, starves
	if isCheap {
		after = starvesCheap
	} else if a.spoiled.lasted >= spoilsFor {
		return true
	}
	arrives := s.Acknowledged
	if s.Source == bwe.ReceiverEstimate { // an estimate alone may be low because of jitter
		arrives = s.Sent * (1 - s.Loss)
	}
	if (isCheap || arrives > starvedPart*s.Sent) && s.Loss < s.Inherent+starvedLoss {
		a.starved = 0
		return false
	}
	if a.starved == 0 {
		a.starved = v.at
	}
	return v.at.Since(a.starved) >= after
}

// spoils reports whether congestion loses too much of a picture. Between two verdicts of overuse
// the queue tells of it. Coarse reports do not tell: an estimate is low because of jitter, too, and
// the loss may be any path's.
func spoils(s *bwe.State) bool {
	return s.Source == bwe.TransportFeedback && s.Full() && s.Loss > s.Inherent+spoiledLoss
}

// spoiled is for how long congestion has lost too much of the lowest moving picture.
type spoiled struct {
	at     instant.T // when that was last looked at
	lasted time.Duration
}

func (p *spoiled) watch(now instant.T, yes bool) {
	past := now.Since(p.at)
	if p.at = now; yes {
		p.lasted = min(p.lasted+min(past, 250*time.Millisecond), spoilsFor) // a policy is asked more often
	} else {
		p.lasted = max(0, p.lasted-past/2)
	}
}

// isLate reports whether keyframes alone do not get through in time, by the estimate.
func (a *Adaptive) isLate(v View, at int) bool {
	r := &v.Ladder[at]
	return r.Mode == Keyframes && r.Cost > v.State.Bitrate && v.at.Since(a.changed) >= thins
}

// climb steps up if a probe has found room, and asks for one if it is time.
func (a *Adaptive) climb(v View, at int) Choice {
	if a.climbed != 0 && !a.climbing(v) {
		a.climbed = 0
		a.prober.reset()
	}
	if to := a.prober.answer(v, at); to > at {
		a.climbed = v.at
		return a.step(v, to, Room)
	}
	top := len(v.Ladder) - 1
	if at == top {
		a.prober.open = false // what it was for is wanted no more
		return Choice{Rung: at, Doze: a.isClean(v), Settled: !v.State.Trouble}
	}
	if !a.prober.ready(v, a.changed) {
		return Choice{Rung: at}
	}
	if lowest := v.Ladder.Lowest(); at < lowest && v.Ladder[lowest].Cost < cheap {
		a.climbed = v.at
		return a.step(v, lowest, Room)
	}
	return Choice{Rung: at, Probe: a.prober.plan(v, at)}
}

// isClean reports whether nothing has happened for long.
func (a *Adaptive) isClean(v View) bool {
	return v.at.Since(a.clean) > dozeAfter && v.at.Since(a.changed) > dozeAfter
}
