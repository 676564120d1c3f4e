package scoreboard

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"time"

	"github.com/deltacdn/delta/internal/netem"
	"github.com/deltacdn/delta/internal/netem/plans"
	"github.com/deltacdn/delta/internal/send/allot"
	"github.com/deltacdn/delta/internal/send/bwe"
	"github.com/deltacdn/delta/internal/send/slow"
)

// A plan is what happens to viewers and their path. A rate in its steps is the capacity
// for which fitting layers are judged.
type plan struct {
	plans.Plan
	// starts is when viewers begin; none: one at once.
	starts   []time.Duration
	extra    []time.Duration // delays of the viewers behind the shared path
	temporal bool
	keyframe float64 // the size of a keyframe, in frames; 0: 6
	events   []happening
	strategy allot.Strategy
	bars     func(*check, *outcome)
	// ends says that the plan is one of those that must end the session, and its bars say when.
	ends bool
	// long plans do not run with every change, and of viewers without
	// transport-wide feedback only those that run everywhere do.
	long, everywhere bool
}

type happening struct {
	at time.Duration
	do func(*world)
}

// A world is a plan that runs.
type world struct {
	loop
	plan    plan
	link    *netem.Link
	back    netem.Path // of what viewers report
	source  *publisher
	viewers []*sender
	carried float64 // bits that the path could have carried
	fair    float64 // of them, what is a viewer's share beside the flows that transfer
	since   time.Duration
}

var kbits = plans.Ladder()

func newWorld(p plan, k kind, seed uint64) *world {
	w := &world{plan: p, back: p.Back}
	chance := func(what string) *rand.Rand {
		h := fnv.New64a()
		_, _ = h.Write([]byte(what))
		return rand.New(rand.NewPCG(seed, h.Sum64()))
	}
	w.link = netem.NewLink(p.Path, chance("link"))
	rates := p.Rates
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
	for _, c := range p.Steps {
		w.at(lead+c.At, func() { w.change(c) })
	}
	if p.Path.TCP > 0 {
		w.every(shareEvery, w.share)
	}
	for _, h := range p.events {
		w.at(lead+h.at, func() { h.do(w) })
	}
	return w
}

// lead is how long the publisher runs ahead of the plan, so that costs are known.
const lead = 5 * time.Second

func (w *world) view(k kind, i int, rng *rand.Rand) {
	board := newRecord(fmt.Sprintf("%s %d", w.plan.Name, i), w.now)
	r := &receiver{loop: &w.loop, kind: k, board: board, rng: rng}
	if i < len(w.plan.extra) {
		r.extra = w.plan.extra[i]
	}
	r.back, r.backLoss = w.back.Delay+r.extra, w.back.Loss
	s := &sender{
		loop: &w.loop, source: w.source, link: w.link, to: r, board: board,
		estimator: bwe.New(bwe.Config{TransportFeedback: k == chromium, ReceiverEstimate: k != reportsOnly}, w.clock()),
		policy:    allot.NewAdaptive(allot.Config{Strategy: w.plan.strategy}),
		breaker:   slow.NewBreaker(0),
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
func (w *world) change(s plans.Step) {
	before := w.link.Path()
	after := before
	s.Change(&after, &w.back)
	w.account()
	w.link.SetPath(after)
	for _, v := range w.viewers {
		v.to.back, v.to.backLoss = w.back.Delay+v.to.extra, w.back.Loss
	}
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

const shareEvery = 20 * time.Millisecond

// share counts what is a viewer's fair share at present: as much as each flow's that transfers.
func (w *world) share() {
	if len(w.viewers) > 0 {
		w.fair += float64(w.link.Path().Rate) * shareEvery.Seconds() / float64(len(w.viewers)+w.link.Transfers())
	}
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
	fair    float64 // bits
	length  time.Duration
	changes int // of the path, from when switches count
}

func (p plan) run(k kind, seed uint64) *outcome {
	w := newWorld(p, k, seed)
	w.run(lead + p.Length)
	w.account()
	o := &outcome{carried: w.carried, fair: w.fair, length: p.Length}
	for _, s := range p.Steps {
		if s.At >= warm {
			o.changes++
		}
	}
	for _, v := range w.viewers {
		v.board.finish(w.now)
		o.viewers = append(o.viewers, v.board)
	}
	return o
}
