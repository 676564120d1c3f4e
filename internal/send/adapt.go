package send

import (
	"sync"
	"time"

	"github.com/deltacdn/delta/internal/send/allot"
	"github.com/deltacdn/delta/internal/send/budget"
	"github.com/deltacdn/delta/internal/send/bwe"
	"github.com/deltacdn/delta/internal/send/instant"
	"github.com/deltacdn/delta/internal/send/playout"
)

// An adaptation fits the video that one viewer is sent to the viewer's path. It has the
// estimate of the path, the policy that chooses by it, and the probe that is under way. It
// has no goroutine and no timer: Set.Consume and Set.handleNow look after it. The set's mu
// guards it.
//
// The policy chooses a rung of a ladder (see ladder.go). A rung names the highest layer
// that may be sent. Of the layers up to that one, Sender.chooseLayer chooses as it does
// where nothing limits: the best, or the nearest to the one that the viewer has named.
type adaptation struct {
	path   path
	policy allot.Policy
	rung   allot.Rung   // that the policy has chosen
	sent   allot.Rung   // that is sent at most: rung or, while one is tried, a higher one
	due    time.Time    // when the policy is asked next, though nothing is heard
	layers uint16       // how many the ladder has been made of
	reason allot.Reason // of the last step
	begun  bool         // the policy has made its first choice
	before rank         // of what was sent before the first step down; 0: the viewer has that again
	dozing bool         // no estimate is needed
	clean  bool         // no step down was taken since the start, or since it has dozed
	thins  bool         // keyframes can be told from other frames

	playout *playout.Delay // nil: nothing was repaired yet
	*awake                 // nil while it dozes
}

// awake is what choosing takes. Most viewers doze most of the time, and have none.
type awake struct {
	ladder   allot.Ladder
	costs    []heldCost // of the layers
	since    time.Time  // when it was made: the epoch of the instants
	fell     instant.T  // when the last step down was taken
	anew     instant.T  // the same of those that begin with a keyframe
	woken    instant.T  // since when transport-wide feedback is awaited; 0: it is not
	probe    probing
	thinning thinningTimes
}

// at returns the instant of a time.
func (a *awake) at(now time.Time) instant.T { return instant.At(a.since, now) }

// A Change is a step that an adaptation has taken.
type Change struct {
	Layer    string     // of video that is sent now, or is about to be
	Mode     allot.Mode // how much of it
	Temporal int        // of allot.Partial: the highest temporal layer that is sent
	Lower    bool       // less is sent than before
	Restored bool       // as much is sent again as before the path limited it
	Reason   allot.Reason
	Estimate float64 // of what the path carries, in bits a second
}

const (
	// lookEvery is how often the policy is asked, though nothing is heard.
	lookEvery = 100 * time.Millisecond
	// settledEvery is how often the policy is asked while the viewer has the best there is,
	// nothing is wrong, and transport-wide feedback comes.
	settledEvery = 500 * time.Millisecond
	// dozeEvery is how often it is checked that nothing is wrong, while no estimate is
	// needed.
	dozeEvery = time.Second
	// wakesWithin is how long transport-wide feedback is awaited at most.
	wakesWithin = 700 * time.Millisecond
	// leastStart is the least estimate to begin with.
	leastStart = 5e6
)

// newPolicy returns what a viewer's video is chosen by. By default the best layer is sent
// first: a viewer on a good path, as most are, must not wait for it.
func (c Config) newPolicy() allot.Policy {
	if c.Policy != nil {
		return c.Policy()
	}
	return allot.NewAdaptive(allot.Config{First: unlimited})
}

const unlimited = 1e12 // bits a second

// prepare makes the first choice, before anything is sent. Nodes get all that they want,
// and of sound alone nothing can be left out.
func (s *Set) prepare(now time.Time) {
	adapts := false
	for _, snd := range s.senders {
		adapts = adapts || snd.adapts()
	}
	if s.adaptation != nil || s.path != nil || !adapts {
		return
	}
	s.adaptation = &adaptation{policy: s.config.newPolicy(), clean: true}
	s.choose(now, bwe.State{Bitrate: leastStart, Source: bwe.Reports})
}

// startEstimating begins to estimate, as of now.
func (s *Set) startEstimating(now time.Time) {
	a := s.adaptation
	if a == nil || a.path.estimator != nil {
		return
	}
	top := a.ladder[len(a.ladder)-1].Cost
	a.path.estimator = bwe.New(bwe.Config{
		Start: max(s.startRate(), 2*top), TransportFeedback: s.numbered(), ReceiverEstimate: true,
	}, now)
	s.path = &a.path
	s.doze(now, false)
	a.due = now.Add(lookEvery)
}

// adapt asks the policy what to send if that is due or, with heard, if feedback says
// something that does not wait.
func (s *Set) adapt(now time.Time, heard bool) {
	a := s.adaptation
	if a == nil || a.path.estimator == nil || s.closed || now.Before(a.due) && !heard {
		return
	}
	early := now.Before(a.due)
	if !early && a.sent.Mode > allot.Keyframes && s.Idle(now) { // nothing comes that could be sent
		a.due = now.Add(lookEvery)
		return
	}
	for _, snd := range s.senders {
		snd.tellPlain(now)
	}
	s.measureRoundTrip()
	if early && !a.dozing { // feedback comes more often than the policy has to be asked
		if verdict, probe := a.path.estimator.Answer(now); verdict != bwe.Overuse && !a.probe.answered(&probe) {
			return
		}
	}
	state := a.path.estimator.State(now)
	if a.dozing && !state.Trouble && (early || s.hasAll() && !a.isGuided()) {
		if !early {
			a.due = now.Add(dozeEvery)
		}
		return
	}
	a.due = now.Add(lookEvery)
	if !s.wakes(now, &state) {
		s.choose(now, state)
	}
}

// measureRoundTrip sends sender reports at once if a viewer that has had no trouble for long
// estimates that its path has become narrow. The round trip by them tells whether there is a
// queue. Without them, the regular ones would tell a second later.
func (s *Set) measureRoundTrip() {
	if a := s.adaptation; a.path.estimator.EstimateFell() && a.dozing {
		s.steady = false
		for _, snd := range s.senders {
			snd.reports.stale = true
		}
	}
}

// isGuided reports whether a policy of the user's is asked, even while the viewer has all.
func (a *adaptation) isGuided() bool {
	_, ok := a.policy.(*allot.Guided)
	return ok
}

// isDecided reports whether a policy of the user's has decided what is sent. It goes on deciding
// when there are other layers.
func (a *adaptation) isDecided() bool {
	g, ok := a.policy.(*allot.Guided)
	return ok && g.Decides()
}

// wakes reports whether better signs are awaited than those that something is wrong: what
// a receiver estimates by itself is low with jitter, too. Transport-wide feedback on packets
// that are numbered from now on will tell.
func (s *Set) wakes(now time.Time, state *bwe.State) bool {
	a := s.adaptation
	switch {
	case a.dozing && state.Trouble && s.numbered():
		s.doze(now, false)
		a.woken = a.at(now)
	case a.dozing:
		return false
	case state.Source == bwe.TransportFeedback || a.at(now).Since(a.woken) > wakesWithin:
		a.woken = 0
	}
	return a.woken != 0
}

// hasAll reports whether the viewer may be sent all that there can be.
func (s *Set) hasAll() bool {
	for _, snd := range s.senders {
		if snd.adapts() && s.adaptation.rung.Layer < len(snd.line.Track.Layers())-1 {
			return false
		}
	}
	return s.adaptation.rung.Mode == allot.Full && !s.grown()
}

// choose asks the policy, and does what it says.
func (s *Set) choose(now time.Time, state bwe.State) {
	s.steady = false
	a := s.adaptation
	a.rouse(now)
	grown := s.grown() && a.clean && !a.isDecided()
	s.buildLadder(now)
	s.judgeTrial(now, &state)
	choice, anew := allot.Choice{}, false
	if grown {
		choice, anew = s.startAnew(now, &state)
	}
	if !anew {
		choice = a.policy.Choose(s.view(now, &state))
	}
	if choice.Settled && state.Source == bwe.TransportFeedback && !a.isGuided() { // a user's policy is promised more
		a.due = now.Add(settledEvery)
	}
	a.probe.note(state.Probe)
	s.take(now, choice, &state)
	if a.path.estimator == nil {
		return // it is the first choice
	}
	s.urge(now)
	s.keepKeyframe()
	s.doze(now, choice.Doze)
	s.startProbe(now, choice)
}

// view returns what the policy decides by.
func (s *Set) view(now time.Time, state *bwe.State) allot.View {
	a := s.adaptation
	v := allot.View{Now: now, State: *state, Ladder: a.ladder, Rung: a.ladder.Find(a.rung)}
	if a.isGuided() { // others need no names
		v.Layers = s.describeLayers()
	}
	return v
}

// startAnew has a new policy make a first choice, since there are other layers than before,
// and nothing is known against them. If that is less than the viewer has, the old policy goes
// on: the viewer keeps what it has, unless there are lower layers than before, which shift
// the others' places.
func (s *Set) startAnew(now time.Time, state *bwe.State) (choice allot.Choice, ok bool) {
	a := s.adaptation
	a.begun = false // all layers can be chosen, though they have yet to come
	s.buildLadder(now)
	policy := s.config.newPolicy()
	choice = policy.Choose(s.view(now, state))
	if choice.Rung < a.ladder.Find(a.rung) {
		a.begun = true
		s.buildLadder(now)
		return choice, false
	}
	a.policy = policy
	return choice, true
}

// take takes the step that the policy has chosen, or stays.
func (s *Set) take(now time.Time, c allot.Choice, state *bwe.State) {
	a := s.adaptation
	r, why, before := a.ladder[min(max(c.Rung, 0), len(a.ladder)-1)], c.Reason, a.sent // policies may be the user's
	moved := !a.begun || !same(a.rung, r)
	lower := a.begun && isBelow(r, a.rung)
	if lower && why != allot.Limited && a.before == 0 {
		a.before = rankOf(a.rung)
	}
	a.rung = r
	tried := s.endTrial(moved || s.probesInVain(c.Wanted), state)
	if !moved && !tried {
		a.sent = keepCost(a.sent, r)
		return
	}
	a.sent, a.begun = r, true
	if lower && why != allot.Limited {
		a.clean, s.near = false, false
	}
	if lower {
		a.fell = a.at(now)
	}
	if lower || isBelow(r, before) {
		a.probe.plan = bwe.Probe{}
	}
	s.carryOut(now, before, state)
	if moved {
		a.reason = why
	}
	if moved && why != allot.Start && why != allot.Stay {
		s.note(Change{
			Layer: s.shownLayer(), Mode: r.Mode, Temporal: r.Temporal, Lower: lower, Restored: a.restored(), Reason: why, Estimate: state.Bitrate,
		})
	}
}

// restored reports whether as much is sent as before the path limited it, and forgets how much
// that was.
func (a *adaptation) restored() bool {
	if rankOf(a.rung) < a.before {
		return false
	}
	a.before = 0
	return true
}

// A rank orders rungs by how much they show, whatever they cost. It is never 0.
type rank uint8

func rankOf(r allot.Rung) rank {
	return rank(min(r.Layer+2, 15)<<4 | int(r.Mode)<<2 | min(r.Temporal, 3))
}

// keepCost returns the rung that is sent with what r costs now, if it is that one.
func keepCost(sent, r allot.Rung) allot.Rung {
	if same(sent, r) {
		return r
	}
	return sent
}

// same reports whether two rungs show the same, whatever they cost.
func same(a, b allot.Rung) bool {
	return a.Mode == b.Mode && a.Layer == b.Layer && a.Temporal == b.Temporal
}

// isBelow reports whether a shows less than b.
func isBelow(a, b allot.Rung) bool {
	switch {
	case a.Layer != b.Layer:
		return a.Layer < b.Layer
	case a.Mode != b.Mode:
		return a.Mode < b.Mode
	}
	return a.Temporal < b.Temporal
}

// A turn is how what is sent changes.
type turn uint8

const (
	upward   turn = iota // to more
	downward             // to less, which begins anew
	thinner              // to fewer temporal layers, with the next frame
	bridged              // to a lower layer; the base layer of the present one goes on until it begins
)

const (
	// lossy is the part of the packets above which more were lost, beyond what the path loses
	// anyway, than can be repaired on the way down.
	lossy = 0.02
	// overflowing is the part of what is sent that arrives at most where the rest does not
	// fit in a queue: its loss is heard of later.
	overflowing = 0.75
)

// loses reports whether packets that were sent lately are lost because of congestion. What was
// lost ahead of a keyframe with which less has begun is missed by nobody.
func (a *adaptation) loses(now time.Time, state *bwe.State) bool {
	overflows := state.Source == bwe.TransportFeedback && state.Acknowledged < overflowing*state.Sent
	return overflows || state.Loss > state.Inherent+lossy && a.at(now).Since(a.anew) > allot.LossShows
}

// carryOut has all video sent as the rung says, and not as from any more. If packets are lost,
// fewer temporal layers begin with a keyframe: what they refer to may be missing.
func (s *Set) carryOut(now time.Time, from allot.Rung, state *bwe.State) {
	a := s.adaptation
	to, how, losing := a.sent, upward, a.loses(now, state)
	switch {
	case !isBelow(to, from):
	case to.Layer == from.Layer && to.Mode == allot.Partial && !losing:
		how = thinner
	case to.Layer < from.Layer && to.Mode == allot.Full && s.canBridge(now, to, state): // a part is paced by what it takes itself
		how = bridged
	default:
		how, a.anew = downward, a.at(now)
	}
	for _, snd := range s.senders {
		if snd.adapts() {
			snd.obey(now, to, how, fresh+state.RoundTrip)
		}
	}
	s.repace(now) // senders that go on now must not wait for a pacer that ends with this step
	if how == downward && losing {
		s.pace.hold(now, state.Queue/2)
	}
}

// doze says whether no estimate is needed for now. Packets have transport-wide sequence
// numbers only while one is.
func (s *Set) doze(now time.Time, yes bool) {
	a := s.adaptation
	a.dozing = yes && a.sent.Mode == allot.Full && (a.awake == nil || a.probe.trial == nil)
	if a.dozing {
		a.path.estimator.Doze()
		a.clean, a.awake = true, nil
		a.due = now.Add(dozeEvery)
	} else {
		a.path.estimator.Wake(now)
		a.rouse(now)
	}
	s.wide.on = !a.path.estimator.Dozing()
}

// rouse makes what choosing takes, if there is none.
func (a *adaptation) rouse(now time.Time) {
	if a.awake == nil {
		a.awake = &awake{since: now}
	}
}

// fellLately reports whether a step down was taken in the last second. The queue that it has left
// must get shorter, and what was sent lately ([budget.Lately]) is no measure of what is sent now.
func (a *adaptation) fellLately(now time.Time) bool {
	return a.awake != nil && a.at(now).Since(a.fell) < budget.Lately
}

// probes reports whether padding is sent for a probe.
func (a *adaptation) probes() bool { return a.awake != nil && a.probe.plan.Rate > 0 }

// shownLayer names the layer of the first video that is sent, or is about to be.
func (s *Set) shownLayer() string {
	for _, snd := range s.senders {
		if snd.adapts() {
			return snd.target().Name()
		}
	}
	return ""
}

// changes are the steps that OnAdapt was not told of yet. The set's mu guards them. OnAdapt
// is called without that lock, since it may ask for statistics.
type changes struct {
	pending []Change
	telling sync.Mutex // is taken ahead of mu, so that they are told in order
}

// note has a change told, once the set's lock is free.
func (s *Set) note(c Change) {
	if s.config.OnAdapt != nil {
		s.changes.pending = append(s.changes.pending, c)
	}
}

// tellChanges tells of what has changed. The caller does not hold the set's lock.
func (s *Set) tellChanges() {
	s.changes.telling.Lock()
	defer s.changes.telling.Unlock()
	s.mu.Lock()
	pending := s.changes.pending
	s.changes.pending = nil
	s.mu.Unlock()
	for _, c := range pending {
		s.config.OnAdapt(c)
	}
}
