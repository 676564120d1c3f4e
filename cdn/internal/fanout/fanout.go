// Package fanout runs the consumers of streams on a fixed number of workers.
// A producer wakes workers, not consumers: what a packet costs in hand-offs
// does not grow with the number of viewers, and a worker that was woken drains
// everything there is before it waits, so batches form by themselves. With next
// to no consumers there is nothing to gain from that: then the producer itself
// serves them, and saves the hand-off.
package fanout

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A Consumer drains what waits for it.
type Consumer[B Batch] interface {
	// Consume handles everything that is ready and returns without blocking.
	// What it puts into the worker's batch goes out together with what others
	// put there. One worker at a time calls it. It must not call its own remove
	// function.
	Consume(batch B)
}

// A Batch collects what a worker's consumers send.
type Batch interface {
	// Flush sends it. What fails is the consumers' business, not the worker's.
	Flush() error
}

// A Pool is a set of workers, shared by the streams of a node.
type Pool[B Batch] struct {
	workers   []*worker[B]
	next      atomic.Uint32
	consumers atomic.Int32
	wg        sync.WaitGroup
}

// New starts a pool of n workers (at least one), each with a batch of its own.
func New[B Batch](n int, batch func() B) *Pool[B] {
	p := &Pool[B]{}
	for range max(n, 1) {
		w := &worker[B]{batch: batch(), wake: make(chan struct{}, 1), appointments: appointments[B]{epoch: time.Now()}}
		p.workers = append(p.workers, w)
		p.wg.Go(w.run)
	}
	return p
}

// Close stops the workers and waits for them.
func (p *Pool[B]) Close() {
	for _, w := range p.workers {
		w.stop()
	}
	p.wg.Wait()
}

// few is up to how many consumers a producer serves itself.
const few = 4

// A worker serves groups in the order in which they were woken, and members that have
// asked to be served at a time.
type worker[B Batch] struct {
	wake chan struct{} // room for one: there is something new in what mu guards

	busy  sync.Mutex // held while groups are served, by whomever
	batch B          // guarded by busy; empty when nobody holds it

	mu           sync.Mutex
	queue        []*group[B]
	appointments appointments[B]
	closed       bool
}

func (w *worker[B]) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *worker[B]) push(g *group[B]) {
	w.mu.Lock()
	w.queue = append(w.queue, g)
	w.mu.Unlock()
	w.signal()
}

func (w *worker[B]) stop() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.signal()
}

func (w *worker[B]) run() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var groups []*group[B]
	var due []*member[B]
	for {
		w.mu.Lock()
		if w.closed {
			w.mu.Unlock()
			return
		}
		groups, w.queue = w.queue, groups[:0]
		due = w.appointments.take(due[:0])
		next := w.appointments.next()
		w.mu.Unlock()
		if len(groups) == 0 && len(due) == 0 {
			w.wait(timer, next)
			continue
		}
		w.serve(groups, due)
		clear(groups)
		clear(due)
	}
}

// wait waits until there is something new, or the time next has come; zero: there is
// none.
func (w *worker[B]) wait(timer *time.Timer, next time.Time) {
	if next.IsZero() {
		<-w.wake
		return
	}
	timer.Reset(time.Until(next))
	select {
	case <-w.wake:
	case <-timer.C:
	}
}

// serve begins with those who have waited for their time.
func (w *worker[B]) serve(groups []*group[B], due []*member[B]) {
	w.busy.Lock()
	defer w.busy.Unlock()
	for _, m := range due {
		m.serve(w.batch)
	}
	for _, g := range groups {
		g.serve()
	}
	_ = w.batch.Flush()
}

// serveNow serves g in the caller's goroutine, unless the worker is busy.
func (w *worker[B]) serveNow(g *group[B]) (done bool) {
	if !w.busy.TryLock() {
		return false
	}
	g.serve()
	_ = w.batch.Flush()
	w.busy.Unlock()
	return true
}

// A Feed is one stream's consumers, spread over the workers.
type Feed[B Batch] struct {
	pool   *Pool[B]
	groups []*group[B]
}

// NewFeed returns a Feed without consumers. It needs no closing.
func (p *Pool[B]) NewFeed() *Feed[B] {
	f := &Feed[B]{pool: p}
	for _, w := range p.workers {
		f.groups = append(f.groups, &group[B]{worker: w})
	}
	return f
}

// Direct reports whether whoever calls Wake serves the consumers itself.
func (f *Feed[B]) Direct() bool { return f.pool.consumers.Load() <= few }

// Wake has every consumer of the feed served soon. It is cheap, does not block
// and may be called from any goroutine that holds no lock which a consumer
// needs.
func (f *Feed[B]) Wake() {
	alone := f.Direct()
	for _, g := range f.groups {
		if g.empty() {
			continue
		}
		g.whole.Store(true)
		if !alone || !g.worker.serveNow(g) {
			g.wake()
		}
	}
}

// Add gives c to the worker whose turn it is, and has it served once at once. tell, if
// not nil, is called ahead of that with a function by which c may ask to be served at a
// time, whatever comes or does not come until then. It may be called at any time, while c
// is served as well, does not block, and has no effect after c's removal. Of the times
// that were asked for the earliest counts, until it has come, and the others are
// forgotten: c asks anew when it is served. That is within [Resolution] of the time, and
// not ahead of it.
//
// The function returned takes c away again and waits while it is being served; it is
// idempotent.
func (f *Feed[B]) Add(c Consumer[B], tell func(serveAt func(time.Time))) (remove func()) {
	g := f.groups[int(f.pool.next.Add(1))%len(f.groups)]
	m := &member[B]{consumer: c}
	if tell != nil {
		tell(func(at time.Time) { g.worker.serveAt(m, at) })
	}
	f.pool.consumers.Add(1)
	g.edit(func(all []*member[B]) []*member[B] {
		g.fresh = append(g.fresh, m)
		return append(slices.Clone(all), m)
	})
	g.wake()
	return sync.OnceFunc(func() {
		m.mu.Lock()
		m.gone = true
		m.mu.Unlock()
		g.worker.forget(m)
		f.pool.consumers.Add(-1)
		g.edit(func(all []*member[B]) []*member[B] {
			return slices.DeleteFunc(slices.Clone(all), func(x *member[B]) bool { return x == m })
		})
	})
}

// A group is the part of a feed that one worker serves.
type group[B Batch] struct {
	worker *worker[B]
	queued atomic.Bool
	whole  atomic.Bool // all members are to be served, and not only new ones
	turn   int         // guarded by the worker's busy

	mu      sync.Mutex   // for editing
	fresh   []*member[B] // that have not been served yet
	members atomic.Pointer[[]*member[B]]
}

type member[B Batch] struct {
	consumer    Consumer[B]
	appointment appointment // guarded by the worker's mu

	mu   sync.Mutex // held while it is served
	gone bool
}

func (g *group[B]) edit(f func([]*member[B]) []*member[B]) {
	g.mu.Lock()
	defer g.mu.Unlock()
	var all []*member[B]
	if p := g.members.Load(); p != nil {
		all = *p
	}
	all = f(all)
	g.members.Store(&all)
}

func (g *group[B]) empty() bool {
	p := g.members.Load()
	return p == nil || len(*p) == 0
}

func (g *group[B]) wake() {
	if g.queued.CompareAndSwap(false, true) {
		g.worker.push(g)
	}
}

// due returns the members that have to be served, and whether they are all.
func (g *group[B]) due() (members []*member[B], all bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	fresh := g.fresh
	g.fresh = nil
	if g.whole.Swap(false) {
		return *g.members.Load(), true
	}
	return fresh, false
}

// serve starts with another member each time, so that under load the last one
// is not always the same. Those who join do not count: they are served alone.
func (g *group[B]) serve() {
	g.queued.Store(false)
	due, all := g.due()
	first := 0
	if all && len(due) > 0 {
		g.turn = (g.turn + 1) % len(due)
		first = g.turn
	}
	for _, m := range due[first:] {
		m.serve(g.worker.batch)
	}
	for _, m := range due[:first] {
		m.serve(g.worker.batch)
	}
}

func (m *member[B]) serve(batch B) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.gone {
		m.consumer.Consume(batch)
	}
}
