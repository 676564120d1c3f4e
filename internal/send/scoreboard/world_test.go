package scoreboard

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"time"

	"github.com/deltacdn/delta/internal/netem"
	"github.com/deltacdn/delta/internal/send/allot"
	"github.com/deltacdn/delta/internal/send/bwe"
)

// A plan is what happens to viewers and their path.
type plan struct {
	name   string
	path   netem.Path
	length time.Duration
	// steps change the path. A rate of theirs is the capacity for whom fitting
	// layers are judged.
	steps []change
	// starts is when viewers begin; none: one at once.
	starts   []time.Duration
	extra    []time.Duration // delays of the viewers behind the shared path
	rates    []float64       // of the layers; none: 150, 500, 1500, 2500 kbit/s
	temporal bool
	keyframe float64       // the size of a keyframe, in frames; 0: 6
	back     time.Duration // delay of feedback; 0: that of the path
	backLoss float64
	events   []happening
	strategy allot.Strategy
	bars     func(*check, *outcome)
	// long plans do not run with every change, and of viewers without
	// transport-wide feedback only those that run everywhere do.
	long, everywhere bool
}

type change struct {
	at   time.Duration
	path func(*netem.Path)
}

type happening struct {
	at time.Duration
	do func(*world)
}

// rate changes the capacity, in kbit/s.
func rate(at time.Duration, kbits float64) change {
	return change{at, func(p *netem.Path) { p.Rate = int(kbits * 1000) }}
}

// A world is a plan that runs.
type world struct {
	loop
	plan    plan
	link    *netem.Link
	source  *publisher
	viewers []*sender
	carried float64 // bits that the path could have carried
	since   time.Duration
}

var kbits = []float64{150e3, 500e3, 1500e3, 2500e3}

func newWorld(p plan, k kind, seed uint64) *world {
	w := &world{plan: p}
	chance := func(what string) *rand.Rand {
		h := fnv.New64a()
		_, _ = h.Write([]byte(what))
		return rand.New(rand.NewPCG(seed, h.Sum64()))
	}
	w.link = netem.NewLink(p.path, chance("link"))
	rates := p.rates
	if rates == nil {
		rates = kbits
	}
	w.source = newPublisher(&w.loop, chance("encoder"), p.temporal, rates...)
	if p.keyframe > 0 {
		w.source.keyframe = p.keyframe
	}
	starts := p.starts
	if starts == nil {
		starts = []time.Duration{0}
	}
	for i, at := range starts {
		// Viewers do not begin at the same instant as a frame.
		w.at(at+5*time.Second+time.Duration(chance("start").Int64N(int64(frameTime))), func() {
			w.view(k, i, chance(fmt.Sprint("viewer", i)))
		})
	}
	for _, c := range p.steps {
		w.at(lead+c.at, func() { w.change(c) })
	}
	for _, h := range p.events {
		w.at(lead+h.at, func() { h.do(w) })
	}
	return w
}

// lead is how long the publisher runs ahead of the plan, so that costs are known.
const lead = 5 * time.Second

func (w *world) view(k kind, i int, rng *rand.Rand) {
	board := newRecord(fmt.Sprintf("%s %d", w.plan.name, i), w.now)
	r := &receiver{loop: &w.loop, kind: k, board: board, rng: rng, back: w.plan.back, backLoss: w.plan.backLoss}
	if i < len(w.plan.extra) {
		r.extra = w.plan.extra[i]
	}
	if r.back == 0 {
		r.back = w.plan.path.Delay + r.extra
	}
	s := &sender{
		loop: &w.loop, source: w.source, link: w.link, to: r, board: board,
		estimator: bwe.New(bwe.Config{TransportFeedback: k == chromium, ReceiverEstimate: k != reportsOnly}, w.clock()),
		policy:    allot.NewAdaptive(allot.Config{Strategy: w.plan.strategy}),
	}
	r.from = s
	w.viewers = append(w.viewers, s)
	s.start()
	r.start()
	s.look()
	if w.link.Path().Rate > 0 && len(w.plan.starts) == 0 {
		board.capacity(w.now, w.fitting(w.link.Path().Rate), true)
	}
}

// change changes the path, and notes which layer fits from now on.
func (w *world) change(c change) {
	before := w.link.Path()
	after := before
	c.path(&after)
	w.account()
	w.link.SetPath(after)
	if before.Rate == after.Rate || after.Rate == 0 {
		return
	}
	for _, v := range w.viewers {
		v.board.capacity(w.now, w.fitting(after.Rate), after.Rate > before.Rate)
	}
}

func (w *world) account() {
	if w.now > lead {
		w.carried += float64(w.link.Path().Rate) * (w.now - max(w.since, lead)).Seconds()
	}
	w.since = w.now
}

// fitting returns the layer that takes at most 80 % of a capacity.
func (w *world) fitting(capacity int) int {
	ladder := allot.Build(nil, w.source.layers(nil), soundsCost, allot.Limits{})
	return ladder[max(ladder.Lowest(), ladder.Fitting(0.8*float64(capacity)))].Layer
}

// An outcome is what came of a plan with one seed.
type outcome struct {
	viewers []*record
	carried float64
	length  time.Duration
}

func (p plan) run(k kind, seed uint64) *outcome {
	w := newWorld(p, k, seed)
	w.run(lead + p.length)
	w.account()
	o := &outcome{carried: w.carried, length: p.length}
	for _, v := range w.viewers {
		v.board.finish(w.now)
		o.viewers = append(o.viewers, v.board)
	}
	return o
}
