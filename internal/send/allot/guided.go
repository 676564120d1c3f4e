package allot

import "github.com/deltacdn/delta/internal/send/bwe"

// A Range is a part of a ladder: the indices of its lowest and its highest rung. An index outside
// the ladder counts as the nearest in it.
type Range struct {
	Least int // of video; less is none at all. Up to 1: any is better than none
	Most  int
}

// A Decision is what a policy of the user's decides for one viewer. An index outside
// the ladder counts as the nearest in it.
type Decision struct {
	Fit   bool  // an [Adaptive] chooses, within Range
	Range Range // of Fit
	Send  int   // without Fit: the rung that is sent
	Probe int   // without Fit: room is looked for up to this rung; up to Send: it is not
}

// Guided is the [Policy] that follows a policy of the user's. It sends what that decides, or what
// an [Adaptive] chooses within the range that it names. The decisions may be nonsense, and may
// change at any time.
type Guided struct {
	own     *Adaptive
	decide  func(View) Decision
	ladder  Ladder // of the range
	search  search
	decides bool // the last decision named a rung
}

// NewGuided returns the policy of one viewer. Each time that it chooses it calls decide with the
// whole ladder, and the rung that is sent.
func NewGuided(c Config, decide func(View) Decision) *Guided {
	return &Guided{own: NewAdaptive(c), decide: decide}
}

// Choose implements [Policy].
func (g *Guided) Choose(v View) Choice {
	v.Rung = min(v.Rung, len(v.Ladder)-1)
	g.search.follow(g.own, v)
	v.Probing = g.search.open()
	if v.Room = v.Rung; g.search.found.Mode != Paused {
		v.Room = max(v.Rung, v.Ladder.Find(g.search.found))
	}
	d := g.decide(v)
	if g.decides = !d.Fit; d.Fit {
		g.search.end(g.own)
		return g.fit(v, d.Range)
	}
	top := len(v.Ladder) - 1
	return g.send(v, min(max(d.Send, 0), top), min(max(d.Probe, 0), top))
}

// Decides reports whether the user's policy named a rung when it was last asked. Otherwise it left
// the choice to the Adaptive.
func (g *Guided) Decides() bool { return g.decides }

// fit chooses within a range.
func (g *Guided) fit(v View, r Range) Choice {
	top := len(v.Ladder) - 1
	most := min(max(r.Most, 0), top)
	least := min(max(r.Least, 1), max(most, 1))
	g.ladder = append(g.ladder[:0], v.Ladder[0])
	if most > 0 {
		g.ladder = append(g.ladder, v.Ladder[least:most+1]...)
	}
	v.Ladder, v.Rung = g.ladder, g.ladder.Find(v.Ladder[v.Rung])
	c := g.own.within(v)
	c.Wanted = Range{Least: least, Most: most}
	switch {
	case c.Rung > 0:
		c.Rung += least - 1
	case c.Probe.Rate > 0:
		c.Try = least
	}
	return c
}

// send chooses what the user's policy has decided.
func (g *Guided) send(v View, to, probe int) Choice {
	a := g.own
	if a.epoch.IsZero() {
		a.epoch = v.Now
		v = a.timed(v)
		a.clean = v.at
		c := a.step(v, to, Start)
		if a.changed = 0; probe > to {
			g.search.begin(a, v.Ladder[probe])
		}
		return c
	}
	v = a.timed(v)
	a.overseen(v)
	c := Choice{Rung: to}
	if !v.Ladder[to].shows(a.rung) {
		less := v.Ladder.Find(a.rung) >= to
		c = a.step(v, to, g.why(v, to, less))
		if less {
			g.search.end(a)
		}
	}
	c.Doze = to == len(v.Ladder)-1 && a.isClean(v)
	return g.probe(v, c, probe)
}

// why returns the reason that is told for a step of the user's policy.
func (g *Guided) why(v View, to int, less bool) Reason {
	s := &v.State
	switch {
	case less && s.Verdict == bwe.Overuse && s.LimitedBy == bwe.ByLoss:
		return Loss
	case less && s.Verdict == bwe.Overuse:
		return Congestion
	case !less && to <= v.Room:
		return Room
	}
	return Limited
}

// probe adds the next probe of a search to a choice, and begins a search if room for rung to is
// to be looked for.
func (g *Guided) probe(v View, c Choice, to int) Choice {
	a, s := g.own, &g.search
	if s.open() && v.Ladder.Find(s.wanted) <= c.Rung { // it is sent, or does not come any more
		s.end(a)
	}
	if to > c.Rung && !s.open() && v.State.Verdict != bwe.Overuse {
		s.begin(a, v.Ladder[to])
	}
	if !s.open() {
		a.prober.open = false // what the Adaptive has asked for is not wanted any more
		c.Wanted = Range{Least: 1, Most: c.Rung}
		return c
	}
	c.Wanted = Range{Least: 1, Most: len(v.Ladder) - 1}
	if to = v.Ladder.Find(s.wanted); a.prober.ready(v, a.changed) {
		c.Probe, c.Try = a.prober.planFor(v, c.Rung, to), to
	}
	return c
}

// overseen keeps an Adaptive up to date while the user's policy chooses.
func (a *Adaptive) overseen(v View) {
	congested := v.State.Verdict == bwe.Overuse
	a.reports.watch(v, a.changed, 0)
	a.prober.watch(v, congested)
	if v.State.Trouble || congested {
		a.clean = v.at
	}
	a.climbed, a.over, a.starved, a.silent, a.spoiled = 0, 0, 0, 0, spoiled{at: v.at}
}

// within chooses from a ladder that may not have what was chosen last, since less than that is
// wanted now, or more. Then the next lower rung is sent at once.
func (a *Adaptive) within(v View) Choice {
	at := v.Ladder.Find(a.rung)
	if a.epoch.IsZero() || v.Ladder[at].shows(a.rung) {
		return a.Choose(v)
	}
	v = a.timed(v)
	if v.State.Verdict != bwe.Overuse {
		return a.step(v, at, Limited)
	}
	a.clean = v.at
	a.prober.watch(v, true)
	a.prober.again(v.at)
	return a.step(v, at, Congestion)
}

// A search is for room that a policy of the user's has asked for. It may take several probes. The
// prober's back-off holds for it, too: after a search that has failed the next one waits.
type search struct {
	wanted Rung // it is for; [Paused]: there is none
	found  Rung // the highest that the last one has found room for; [Paused]: none
	failed bool // the last one has not found what was wanted
}

func (s *search) open() bool { return s.wanted.Mode != Paused }

// begin begins a search.
func (s *search) begin(a *Adaptive, wanted Rung) {
	a.prober.open = false // what the Adaptive has asked for is not wanted any more
	if !s.failed {
		a.prober.next = 0
	}
	s.wanted = wanted
}

// follow reads the answer of the last probe.
func (s *search) follow(a *Adaptive, v View) {
	v = a.timed(v)
	p := &a.prober
	if v.State.Verdict == bwe.Overuse {
		if s.open() && p.open {
			p.refused(v)
			s.failed = true
		}
		s.end(a)
		return
	}
	if !s.open() {
		return
	}
	asked := p.open
	p.watch(v, false)
	switch to := p.answer(v, v.Ladder.Find(a.rung)); {
	case to > v.Ladder.Find(a.rung):
		s.found = v.Ladder[to]
		if p.carried, p.answered = v.State.Probe.Rate, v.at; to >= v.Ladder.Find(s.wanted) {
			s.wanted, s.failed = Rung{}, false
		}
	case asked && !p.open && (v.State.Probe.Unknown || p.answered != v.at): // it has not even shown a higher rate
		s.wanted, s.failed = Rung{}, true
	}
}

// end gives the search up, and forgets what the last one has found.
func (s *search) end(a *Adaptive) {
	if s.open() {
		a.prober.open = false
	}
	s.wanted, s.found = Rung{}, Rung{}
}
