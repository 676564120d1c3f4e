package scoreboard

import (
	"fmt"
	"time"

	"github.com/deltacdn/delta/internal/netem"
	"github.com/deltacdn/delta/internal/send/allot"
)

const (
	ms  = time.Millisecond
	sec = time.Second
)

// home is the path of most plans.
func home(kbits int) netem.Path {
	return netem.Path{Delay: 50 * ms, Queue: 300 * ms, Rate: kbits * 1000}
}

func with(p netem.Path, f func(*netem.Path)) netem.Path {
	f(&p)
	return p
}

// variable is RFC 8867 section 5.1, at a multiple of its rates.
func variable(name string, times float64) plan {
	return plan{
		name: name, path: home(int(1000 * times)), length: 100 * sec, everywhere: true,
		steps: []change{rate(40*sec, 2500*times), rate(60*sec, 600*times), rate(80*sec, 1000*times)},
		bars: func(c *check, o *outcome) {
			c.falls(o, sec)
			c.rises(o, 8*sec)
			c.queue(o, 100)
			c.loss(o, 0.02)
		},
	}
}

func plans() []plan {
	all := []plan{
		variable("variable", 1),
		variable("variable x2.5", 2.5),
		{
			name: "steady 3.5", everywhere: true, path: home(3500), length: 180 * sec,
			bars: func(c *check, o *outcome) {
				c.fits(o, 0.95, 3)
				c.switches(o, 1)
			},
		},
		{
			name: "steady 100", path: home(100_000), length: 120 * sec,
			bars: func(c *check, o *outcome) { c.fits(o, 0.95, 3) },
		},
		near("10 % above", 1.1),
		near("10 % below", 0.9),
		{
			name: "loss 5 %", everywhere: true, path: with(home(20_000), func(p *netem.Path) { p.Loss = 0.05 }), length: 180 * sec,
			bars: func(c *check, o *outcome) { c.down(o, 0); c.playable(o, 0.99) },
		},
		{
			name: "loss 10 %", path: with(home(20_000), func(p *netem.Path) { p.Loss = 0.10 }), length: 180 * sec,
			bars: func(c *check, o *outcome) { c.down(o, 1) },
		},
		{
			name: "jitter", path: with(home(20_000), func(p *netem.Path) {
				p.Jitter, p.JitterPeriod, p.Reorder, p.ReorderBy = 50*ms, 100*ms, 0.05, 30*ms
			}), length: 180 * sec,
			bars: func(c *check, o *outcome) { c.down(o, 0); c.playable(o, 0.99) },
		},
		{
			name: "jitter of each packet", path: with(home(20_000), func(p *netem.Path) { p.Jitter = 50 * ms }), length: 180 * sec,
			bars: func(c *check, o *outcome) { c.down(o, 0); c.playable(o, 0.99) },
		},
		{
			name: "half the feedback", path: home(3500), length: 120 * sec, backLoss: 0.5,
			bars: func(c *check, o *outcome) { c.never(o, -1); c.rises(o, 8*sec) },
		},
		{
			name: "no feedback for 3 s", everywhere: true, path: home(3500), length: 60 * sec,
			events: []happening{
				{30 * sec, func(w *world) { w.viewers[0].to.backLoss = 1 }},
				{33 * sec, func(w *world) {
					w.viewers[0].to.backLoss = 0
					w.viewers[0].board.capacity(w.now, 3, true)
				}},
			},
			bars: func(c *check, o *outcome) { c.never(o, -1); c.rises(o, 8*sec) },
		},
		{
			name: "three viewers", path: home(3500), length: 120 * sec, starts: []time.Duration{0, 20 * sec, 40 * sec},
			bars: func(c *check, o *outcome) { c.together(o, 1); c.sum(o, 0.7) },
		},
		{
			name: "beside TCP", path: with(home(2000), func(p *netem.Path) { p.TCP = 1 }), length: 120 * sec,
			bars: func(c *check, o *outcome) { c.never(o, -1); c.share(o, 0.2*1e6) },
		},
		{
			name: "beside short TCP", path: with(home(2000), func(p *netem.Path) {
				p.TCP, p.TCPBytes, p.TCPPause = 10, 150_000, 10*sec
			}), length: 120 * sec,
			bars: func(c *check, o *outcome) { c.never(o, -1) },
		},
		{
			name: "outage", path: home(3500), length: 60 * sec,
			events: []happening{
				{30 * sec, func(w *world) {
					w.link.SetPath(with(w.link.Path(), func(p *netem.Path) { p.Loss = 1 }))
					w.viewers[0].to.backLoss = 1
				}},
				{35 * sec, func(w *world) {
					w.link.SetPath(home(3500))
					w.viewers[0].to.backLoss = 0
					w.viewers[0].board.returned = w.now
				}},
			},
			bars: func(c *check, o *outcome) { c.back(o, 2*sec) },
		},
		{
			name: "pause", path: home(3500), length: 100 * sec,
			events: []happening{
				{40 * sec, func(w *world) { w.viewers[0].hold() }},
				{60 * sec, func(w *world) { w.viewers[0].resume() }},
			},
			bars: func(c *check, o *outcome) { c.back(o, 2*sec) },
		},
		{
			name: "one layer", path: home(1000), length: 60 * sec, rates: []float64{2500e3},
			bars: func(c *check, o *outcome) { c.sound(o, 0, 40*ms); c.late(o, 400) },
		},
		{
			name: "one layer, temporal", path: home(1600), length: 60 * sec, rates: []float64{2500e3}, temporal: true,
			bars: func(c *check, o *outcome) { c.sound(o, 0, 40*ms); c.late(o, 400); c.moves(o, 0.9) },
		},
	}
	all = append(all, more()...)
	for _, delay := range []int{10, 50, 150, 300} {
		for _, queue := range []int{70, 300, 1000} {
			trips := max(1, time.Duration(2*delay)*ms/(100*ms))
			p := variable(fmt.Sprintf("grid %d ms, queue %d", delay, queue), 1)
			p.long, p.everywhere = true, false
			p.path.Delay, p.path.Queue = time.Duration(delay)*ms, time.Duration(queue)*ms
			p.bars = func(c *check, o *outcome) {
				c.falls(o, trips*sec)
				c.rises(o, trips*8*sec)
			}
			all = append(all, p)
		}
	}
	return all
}

// near has a capacity that is near what the third layer costs.
func near(name string, times float64) plan {
	const costs = 1.68e3 + soundsCost/1000
	return plan{
		name: name, path: home(int(times * costs)), length: 120 * sec,
		bars: func(c *check, o *outcome) { c.total(o, 2) },
	}
}

// more are plans that use what few others do.
func more() []plan {
	return []plan{
		{
			name: "large keyframe", path: with(home(5000), func(p *netem.Path) { p.QueueBytes = 20 * (payloadSize + rtpSize + ipSize) }),
			length: 10 * sec, rates: []float64{2500e3}, keyframe: 13.3,
			bars: func(c *check, o *outcome) { c.drops(o, 0); c.sound(o, 0, 40*ms) },
		},
		{ // out of a doze, by less than a third
			name: "small fall", path: home(3500), length: 80 * sec,
			steps: []change{rate(40*sec, 2400)},
			bars:  func(c *check, o *outcome) { c.falls(o, sec); c.queue(o, 100); c.loss(o, 0.02) },
		},
		{ // RFC 8867 section 5.2
			name: "two viewers, variable", path: home(4000), length: 125 * sec, starts: []time.Duration{0, 0},
			steps: []change{rate(25*sec, 2000), rate(50*sec, 3500), rate(75*sec, 1000), rate(100*sec, 2000)},
			bars:  func(c *check, o *outcome) { c.never(o, -1); c.together(o, 1) },
		},
		{ // section 5.3
			name: "congested feedback", path: home(2000), length: 80 * sec,
			steps: []change{rate(20*sec, 1000), rate(40*sec, 500), rate(60*sec, 2000)},
			events: []happening{
				{35 * sec, func(w *world) { w.viewers[0].to.back, w.viewers[0].to.backLoss = 250*ms, 0.5 }},
				{70 * sec, func(w *world) { w.viewers[0].to.back, w.viewers[0].to.backLoss = 50*ms, 0 }},
			},
			bars: func(c *check, o *outcome) { c.falls(o, 2*sec); c.rises(o, 8*sec) },
		},
		{ // section 5.5
			name: "five viewers", path: with(home(4000), func(p *netem.Path) { p.Delay = 10 * ms }), length: 300 * sec,
			starts: []time.Duration{0, 10 * sec, 20 * sec, 30 * sec, 40 * sec}, long: true,
			extra: []time.Duration{0, 15 * ms, 40 * ms, 90 * ms, 140 * ms},
			bars:  func(c *check, o *outcome) { c.together(o, 1); c.sum(o, 0.7) },
		},
		{
			name: "quality into 1.0", path: home(1000), length: 60 * sec, strategy: allot.Quality,
			bars: func(c *check, o *outcome) { c.fits(o, 0.9, 1) },
		},
		{
			name: "careful into 4.5", path: home(4500), length: 60 * sec, strategy: allot.Careful,
			bars: func(c *check, o *outcome) { c.rises(o, 15*sec) },
		},
		{
			name: "policer", path: with(home(1000), func(p *netem.Path) { p.QueueBytes = 15_000 }), length: 60 * sec,
			bars: func(c *check, o *outcome) { c.fits(o, 0.95, 1); c.loss(o, 0.02) },
		},
	}
}
