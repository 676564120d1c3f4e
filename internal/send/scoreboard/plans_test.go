package scoreboard

import (
	"time"

	"github.com/deltacdn/delta/internal/netem"
	"github.com/deltacdn/delta/internal/netem/plans"
	"github.com/deltacdn/delta/internal/send/allot"
)

const (
	ms  = time.Millisecond
	sec = time.Second
)

// home is a plan for which one viewer is not enough, or not what is looked at.
func home(name string, kbits float64, length time.Duration, steps ...plans.Step) plans.Plan {
	path := plans.Home(kbits)
	return plans.Plan{Name: name, Path: path, Back: netem.Path{Delay: path.Delay}, Length: length, Steps: steps}
}

// allPlans returns the plans in the order of the files' lines.
func allPlans() []plan {
	var all []plan
	add := func(p ...plan) { all = append(all, p...) }
	common := map[string]plans.Plan{}
	for _, p := range plans.Common() {
		common[p.Name] = p
	}
	for _, name := range []string{"variable", "variable x2.5"} {
		add(plan{Plan: common[name], everywhere: true, bars: func(c *check, o *outcome) {
			c.falls(o, sec)
			c.rises(o, 8*sec)
			c.queue(o, 100)
			c.loss(o, 0.02)
		}})
	}
	add(steady(common)...)
	add(disturbed(common)...)
	add(shared(common)...)
	add(interrupted(common)...)
	add(oneLayer(common)...)
	add(changing(common)...)
	add(strategies(common)...)
	for _, delay := range []time.Duration{10 * ms, 50 * ms, 150 * ms, 300 * ms} {
		for _, queue := range []time.Duration{70 * ms, 300 * ms, 1000 * ms} {
			trips := max(1, 2*delay/(100*ms))
			add(plan{Plan: plans.Grid(delay, queue), long: true, bars: func(c *check, o *outcome) {
				c.falls(o, trips*sec)
				c.rises(o, trips*8*sec)
				c.switches(o, 2)
			}})
		}
	}
	return all
}

func steady(common map[string]plans.Plan) []plan {
	const costs = 1.68e3 + soundsCost/1000 // of the third layer
	near := func(c *check, o *outcome) { c.total(o, 2) }
	return []plan{
		{Plan: common["steady 3.5"], everywhere: true, bars: func(c *check, o *outcome) {
			c.fits(o, 0.95, 3)
			c.switches(o, 1)
		}},
		{Plan: common["steady 100"], bars: func(c *check, o *outcome) { c.fits(o, 0.95, 3) }},
		{Plan: plans.Near("10 % above", 1.1*costs), bars: near},
		{Plan: plans.Near("10 % below", 0.9*costs), bars: near},
	}
}

func disturbed(common map[string]plans.Plan) []plan {
	plays := func(c *check, o *outcome) { c.down(o, 0); c.playable(o, 0.99) }
	returns := func(c *check, o *outcome) { c.never(o, -1); c.rises(o, 8*sec) }
	return []plan{
		{Plan: common["loss 5 %"], everywhere: true, bars: plays},
		{Plan: common["loss 10 %"], bars: func(c *check, o *outcome) { c.down(o, 1) }},
		{Plan: common["jitter"], bars: plays},
		{Plan: common["jitter of each packet"], bars: plays},
		{Plan: common["half the feedback"], bars: returns},
		{Plan: common["no feedback for 3 s"], everywhere: true, bars: returns, events: []happening{
			{33 * sec, func(w *world) { w.viewers[0].board.capacity(w.now, 3, true) }},
		}},
	}
}

func shared(common map[string]plans.Plan) []plan {
	return []plan{
		{
			Plan: home("three viewers", 3500, 120*sec), starts: []time.Duration{0, 20 * sec, 40 * sec},
			bars: func(c *check, o *outcome) { c.together(o, 1); c.sum(o, 0.7) },
		},
		{Plan: common["beside TCP"], bars: func(c *check, o *outcome) { c.never(o, -1); c.share(o, 0.2) }},
		{Plan: common["beside short TCP"], bars: func(c *check, o *outcome) { c.never(o, -1); c.share(o, 0.2) }},
	}
}

func interrupted(common map[string]plans.Plan) []plan {
	returns := func(c *check, o *outcome) { c.back(o, 2*sec) }
	return []plan{
		{Plan: common["outage"], bars: returns, events: []happening{
			{35 * sec, func(w *world) { w.viewers[0].board.returned = w.now }},
		}},
		{Plan: home("pause", 3500, 100*sec), bars: returns, events: []happening{
			{40 * sec, func(w *world) { w.viewers[0].hold() }},
			{60 * sec, func(w *world) { w.viewers[0].resume() }},
		}},
		{ // of the sound less than half gets through
			Plan: home("sound lost", 20_000, 60*sec, plans.Step{At: 20 * sec, Change: func(path, _ *netem.Path) { path.Loss = 0.7 }}),
			ends: true, bars: func(c *check, o *outcome) { c.ends(o, 50*sec, 53*sec) },
		},
	}
}

func oneLayer(common map[string]plans.Plan) []plan {
	temporal := home("one layer, temporal", 1600, 60*sec)
	temporal.Rates = []float64{2500e3}
	return []plan{
		{Plan: common["one layer"], bars: func(c *check, o *outcome) { c.sound(o, 0, 40*ms); c.late(o, 400) }},
		{Plan: temporal, temporal: true, bars: func(c *check, o *outcome) { c.sound(o, 0, 40*ms); c.late(o, 400); c.moves(o, 0.9) }},
		{
			Plan: common["large keyframe"], keyframe: 13.3,
			bars: func(c *check, o *outcome) { c.drops(o, 0); c.sound(o, 0, 40*ms) },
		},
	}
}

func changing(common map[string]plans.Plan) []plan {
	five := home("five viewers", 4000, 300*sec)
	five.Path.Delay, five.Back.Delay = 10*ms, 10*ms
	return []plan{
		{Plan: common["small fall"], bars: func(c *check, o *outcome) { c.falls(o, sec); c.queue(o, 100); c.loss(o, 0.02) }},
		{ // RFC 8867 section 5.2
			Plan: home("two viewers, variable", 4000, 125*sec,
				plans.Rate(25*sec, 2000), plans.Rate(50*sec, 3500), plans.Rate(75*sec, 1000), plans.Rate(100*sec, 2000)),
			starts: []time.Duration{0, 0},
			bars:   func(c *check, o *outcome) { c.never(o, -1); c.together(o, 1) },
		},
		{Plan: common["congested feedback"], bars: func(c *check, o *outcome) { c.falls(o, 2*sec); c.rises(o, 8*sec) }},
		{ // section 5.5
			Plan: five, long: true,
			starts: []time.Duration{0, 10 * sec, 20 * sec, 30 * sec, 40 * sec},
			extra:  []time.Duration{0, 15 * ms, 40 * ms, 90 * ms, 140 * ms},
			bars:   func(c *check, o *outcome) { c.together(o, 1); c.sum(o, 0.7) },
		},
	}
}

func strategies(common map[string]plans.Plan) []plan {
	return []plan{
		{
			Plan: home("quality into 1.0", 1000, 60*sec), strategy: allot.Quality,
			bars: func(c *check, o *outcome) { c.fits(o, 0.9, 1) },
		},
		{
			Plan: home("careful into 4.5", 4500, 60*sec), strategy: allot.Careful,
			bars: func(c *check, o *outcome) { c.rises(o, 15*sec) },
		},
		{Plan: common["policer"], bars: func(c *check, o *outcome) { c.fits(o, 0.95, 1); c.loss(o, 0.02) }},
	}
}
