// Package plans has the paths behind which viewers are tested, and how these
// change. The same plans run in virtual time (internal/send/scoreboard) and with
// real clients behind an emulator (internal/clients).
package plans

import (
	"fmt"
	"time"

	"github.com/deltacdn/delta/internal/netem"
)

const (
	ms  = time.Millisecond
	sec = time.Second
)

// A Plan is the path of a viewer, in both directions, from the moment at which it
// begins to watch.
type Plan struct {
	Name   string
	Path   netem.Path // to the viewer
	Back   netem.Path // from the viewer
	Length time.Duration
	Steps  []Step
	// Rates are those of the layers that are published, the lowest first, in bits a
	// second. If nil, [Ladder].
	Rates []float64
}

// A Step changes the path.
type Step struct {
	At     time.Duration
	Change func(path, back *netem.Path)
}

// Ladder returns the rates of the layers that are published unless a plan says
// otherwise, in bits a second.
func Ladder() []float64 { return []float64{150e3, 500e3, 1500e3, 2500e3} }

// A World is the state of a plan's path at some time.
type World struct{ Path, Back netem.Path }

// At returns the path as it is at a time from the beginning.
func (p Plan) At(at time.Duration) World {
	w := World{p.Path, p.Back}
	for _, s := range p.Steps {
		if s.At <= at {
			s.Change(&w.Path, &w.Back)
		}
	}
	return w
}

// Home is the path of most plans: 50 ms each way, a queue of 300 ms, and a rate in
// kbit/s towards the viewer.
func Home(kbits float64) netem.Path {
	return netem.Path{Delay: 50 * ms, Queue: 300 * ms, Rate: int(kbits * 1000)}
}

// home is a plan with that path.
func home(name string, kbits float64, length time.Duration, steps ...Step) Plan {
	return Plan{Name: name, Path: Home(kbits), Back: netem.Path{Delay: 50 * ms}, Length: length, Steps: steps}
}

// with returns p with a changed path to the viewer.
func (p Plan) with(f func(*netem.Path)) Plan {
	f(&p.Path)
	return p
}

// delayed returns p with another delay, in both directions.
func (p Plan) delayed(d time.Duration) Plan {
	p.Path.Delay, p.Back.Delay = d, d
	return p
}

// Rate is the step that changes the rate towards the viewer, in kbit/s.
func Rate(at time.Duration, kbits float64) Step {
	return Step{at, func(path, _ *netem.Path) { path.Rate = int(kbits * 1000) }}
}

// back is the step that changes the loss and the delay of what the viewer sends.
func back(at time.Duration, loss float64, delay time.Duration) Step {
	return Step{at, func(_, back *netem.Path) { back.Loss, back.Delay = loss, delay }}
}

// Variable is RFC 8867 section 5.1, at a multiple of its rates.
func Variable(name string, times float64) Plan {
	return home(name, 1000*times, 100*sec, Rate(40*sec, 2500*times), Rate(60*sec, 600*times), Rate(80*sec, 1000*times))
}

// Near has a capacity in kbit/s that is near what a layer costs.
func Near(name string, kbits float64) Plan { return home(name, kbits, 120*sec) }

// Grid is the variable path with a delay and a queue.
func Grid(delay, queue time.Duration) Plan {
	p := Variable(fmt.Sprintf("grid %d ms, queue %d", delay.Milliseconds(), queue.Milliseconds()), 1).delayed(delay)
	return p.with(func(p *netem.Path) { p.Queue = queue })
}

// Common returns the plans of RFC 8867, and others, for one viewer.
func Common() []Plan {
	return []Plan{
		Variable("variable", 1),
		Variable("variable x2.5", 2.5),
		home("steady 3.5", 3500, 180*sec),
		home("steady 100", 100_000, 120*sec),
		home("loss 5 %", 20_000, 180*sec).with(func(p *netem.Path) { p.Loss = 0.05 }),
		home("loss 10 %", 20_000, 180*sec).with(func(p *netem.Path) { p.Loss = 0.10 }),
		home("jitter", 20_000, 180*sec).with(func(p *netem.Path) {
			p.Jitter, p.JitterPeriod, p.Reorder, p.ReorderBy = 50*ms, 100*ms, 0.05, 30*ms
		}),
		home("jitter of each packet", 20_000, 180*sec).with(func(p *netem.Path) { p.Jitter = 50 * ms }),
		deafened(home("half the feedback", 3500, 120*sec), 0.5),
		home("no feedback for 3 s", 3500, 60*sec, back(30*sec, 1, 50*ms), back(33*sec, 0, 50*ms)),
		home("beside TCP", 2000, 120*sec).with(func(p *netem.Path) { p.TCP = 1 }),
		home("beside short TCP", 2000, 120*sec).with(func(p *netem.Path) {
			p.TCP, p.TCPBytes, p.TCPPause = 10, 150_000, 10*sec
		}),
		home("outage", 3500, 60*sec,
			Step{30 * sec, func(path, back *netem.Path) { path.Loss, back.Loss = 1, 1 }},
			Step{35 * sec, func(path, back *netem.Path) { path.Loss, back.Loss = 0, 0 }}),
		home("small fall", 3500, 80*sec, Rate(40*sec, 2400)), // out of a doze, by less than a third
		home("congested feedback", 2000, 80*sec, // RFC 8867 section 5.3
			Rate(20*sec, 1000), back(35*sec, 0.5, 250*ms), Rate(40*sec, 500), Rate(60*sec, 2000), back(70*sec, 0, 50*ms)),
		home("policer", 1000, 60*sec).with(func(p *netem.Path) { p.QueueBytes = 15_000 }),
		single(home("one layer", 1000, 60*sec)),
		single(home("large keyframe", 5000, 10*sec).with(func(p *netem.Path) { p.QueueBytes = 20 * 1218 })),
	}
}

// Seen returns the paths on which real viewers were seen to fare badly.
func Seen() []Plan {
	return []Plan{
		home("3, 1, 3", 3000, 75*sec, Rate(25*sec, 1000), Rate(50*sec, 3000)),
		home("3, 1.5, 0.8, 4, 0.6", 3000, 75*sec, Rate(15*sec, 1500), Rate(30*sec, 800), Rate(45*sec, 4000), Rate(60*sec, 600)),
		home("into 1", 1000, 60*sec),
		home("1 for 30 s, then 20", 1000, 60*sec, Rate(30*sec, 20_000)),
		home("150 ms round trip, loss 2 %", 20_000, 60*sec).with(func(p *netem.Path) { p.Loss = 0.02 }).delayed(75 * ms),
		home("200 ms round trip, loss 2 %", 20_000, 60*sec).with(func(p *netem.Path) { p.Loss = 0.02 }).delayed(100 * ms),
		home("300 ms round trip, loss 2 %", 20_000, 60*sec).with(func(p *netem.Path) { p.Loss = 0.02 }).delayed(150 * ms),
		home("loss 20 %", 20_000, 60*sec).with(func(p *netem.Path) { p.Loss = 0.20 }),
		home("50 ms round trip, loss 5 %", 20_000, 60*sec).with(func(p *netem.Path) { p.Loss = 0.05 }).delayed(25 * ms),
		single(home("one layer, 1 for 30 s, then 20", 1000, 60*sec, Rate(30*sec, 20_000))),
		single(home("one layer, jitter of each packet", 20_000, 60*sec).with(func(p *netem.Path) { p.Jitter = 50 * ms })),
	}
}

// deafened is p with a loss of what the viewer sends.
func deafened(p Plan, loss float64) Plan {
	p.Back.Loss = loss
	return p
}

// single is p with one layer of 2.5 Mbit/s.
func single(p Plan) Plan {
	p.Rates = []float64{2500e3}
	return p
}
