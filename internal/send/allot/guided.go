package allot

import "github.com/deltacdn/delta/internal/send/bwe"

// A Range is what a policy of the user's wants its viewer to be sent, as indices in a ladder.
// What lies outside the ladder is brought into it.
type Range struct {
	Least int // of video; less is none at all. Up to 1: any is better than none
	Most  int
}

// Guided is the [Policy] where the user's says what is wanted. Within that it is an
// [Adaptive]: less is sent when the path is congested, and more only after a probe has
// carried it, or as the first choice. So what is wanted may be nonsense, and may change at
// any time.
type Guided struct {
	own    *Adaptive
	want   func(View) Range
	ladder Ladder // of what is wanted
}

// NewGuided returns the policy of one viewer. Each time that it chooses it calls want with the
// whole ladder, and the rung that is sent.
func NewGuided(c Config, want func(View) Range) *Guided {
	return &Guided{own: NewAdaptive(c), want: want}
}

// Choose implements [Policy].
func (g *Guided) Choose(v View) Choice {
	least, most := g.wanted(v)
	g.ladder = append(g.ladder[:0], v.Ladder[0])
	if most > 0 {
		g.ladder = append(g.ladder, v.Ladder[least:most+1]...)
	}
	v.Ladder, v.Rung = g.ladder, g.ladder.Find(v.Ladder[min(v.Rung, len(v.Ladder)-1)])
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

// wanted returns the lowest and the highest rung that the user's policy wants. If it wants no
// video, most is 0.
func (g *Guided) wanted(v View) (least, most int) {
	r, top := g.want(v), len(v.Ladder)-1
	most = min(max(r.Most, 0), top)
	return min(max(r.Least, 1), max(most, 1)), most
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
