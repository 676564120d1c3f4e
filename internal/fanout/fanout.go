// Package fanout runs the consumers of streams on a fixed number of workers.
// A producer wakes workers, not consumers: what a packet costs in hand-offs
// does not grow with the number of viewers, and a worker that was woken drains
// everything there is before it rests, so batches form by themselves.
package fanout

import (
	"slices"
	"sync"
	"sync/atomic"
)

// A Consumer drains what waits for it.
type Consumer interface {
	// Consume handles everything that is ready and returns without blocking.
	// One worker at a time calls it. It must not call its own remove function.
	Consume()
}

// A Pool is a set of workers, shared by the streams of a node.
type Pool struct {
	workers []*worker
	next    atomic.Uint32
	wg      sync.WaitGroup
}

// New starts a pool of n workers (at least one).
func New(n int) *Pool {
	p := &Pool{}
	for range max(n, 1) {
		w := &worker{}
		w.wake.L = &w.mu
		p.workers = append(p.workers, w)
		p.wg.Go(w.run)
	}
	return p
}

// Close stops the workers and waits for them.
func (p *Pool) Close() {
	for _, w := range p.workers {
		w.stop()
	}
	p.wg.Wait()
}

// A worker serves groups in the order in which they were woken.
type worker struct {
	wake sync.Cond

	mu     sync.Mutex
	queue  []*group
	closed bool
}

func (w *worker) push(g *group) {
	w.mu.Lock()
	w.queue = append(w.queue, g)
	w.mu.Unlock()
	w.wake.Signal()
}

func (w *worker) stop() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.wake.Signal()
}

func (w *worker) run() {
	var batch []*group
	for {
		w.mu.Lock()
		for len(w.queue) == 0 && !w.closed {
			w.wake.Wait()
		}
		if w.closed {
			w.mu.Unlock()
			return
		}
		batch, w.queue = w.queue, batch[:0]
		w.mu.Unlock()
		for i, g := range batch {
			g.serve()
			batch[i] = nil
		}
	}
}

// A Feed is one stream's consumers, spread over the workers.
type Feed struct {
	pool   *Pool
	groups []*group
}

// NewFeed returns a Feed without consumers. It needs no closing.
func (p *Pool) NewFeed() *Feed {
	f := &Feed{pool: p}
	for _, w := range p.workers {
		f.groups = append(f.groups, &group{worker: w})
	}
	return f
}

// Wake has every consumer of the feed served soon. It is cheap, does not block
// and may be called from any goroutine.
func (f *Feed) Wake() {
	for _, g := range f.groups {
		g.wake()
	}
}

// Add gives c to the worker whose turn it is, and has it served once at once.
// The function returned takes it away again and waits while it is being
// served; it is idempotent.
func (f *Feed) Add(c Consumer) (remove func()) {
	g := f.groups[int(f.pool.next.Add(1))%len(f.groups)]
	m := &member{consumer: c}
	g.edit(func(all []*member) []*member { return append(slices.Clone(all), m) })
	g.wake()
	return sync.OnceFunc(func() {
		m.mu.Lock()
		m.gone = true
		m.mu.Unlock()
		g.edit(func(all []*member) []*member {
			return slices.DeleteFunc(slices.Clone(all), func(x *member) bool { return x == m })
		})
	})
}

// A group is the part of a feed that one worker serves.
type group struct {
	worker *worker
	queued atomic.Bool
	turn   int // owned by the worker

	mu      sync.Mutex // for editing
	members atomic.Pointer[[]*member]
}

type member struct {
	consumer Consumer

	mu   sync.Mutex // held while it is served
	gone bool
}

func (g *group) edit(f func([]*member) []*member) {
	g.mu.Lock()
	defer g.mu.Unlock()
	var all []*member
	if p := g.members.Load(); p != nil {
		all = *p
	}
	all = f(all)
	g.members.Store(&all)
}

func (g *group) wake() {
	if p := g.members.Load(); p == nil || len(*p) == 0 {
		return
	}
	if g.queued.CompareAndSwap(false, true) {
		g.worker.push(g)
	}
}

// serve starts with another member each time, so that under load the last one
// is not always the same.
func (g *group) serve() {
	g.queued.Store(false)
	all := *g.members.Load()
	if len(all) == 0 {
		return
	}
	g.turn = (g.turn + 1) % len(all)
	for _, m := range all[g.turn:] {
		m.serve()
	}
	for _, m := range all[:g.turn] {
		m.serve()
	}
}

func (m *member) serve() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.gone {
		m.consumer.Consume()
	}
}
