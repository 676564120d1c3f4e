package cdn

import (
	"context"
	"errors"
	"sync"
	"time"
)

// An announcement keeps one entry in the directory. Its methods may be called
// concurrently and do not block.
type announcement struct {
	announcer *announcer
	ctx       context.Context // the goroutine's; its cause says how it is to end
	cancel    context.CancelCauseFunc
	changed   chan struct{} // holds one item after an update
	done      chan struct{} // closed when the goroutine has ended
	onStale   func()

	// owned by the goroutine; after done by that of the next announcement

	tried Entry // the last that was put, with or without success; zero: none
	taken Entry // the last that the directory has taken; zero: none

	mu    sync.Mutex
	entry Entry
}

// update replaces the entry by e, which has the same stream and node. At no time the
// directory has neither.
func (a *announcement) update(e Entry) {
	a.mu.Lock()
	a.entry = e.clone()
	a.mu.Unlock()
	a.change()
}

// change has the entry put again soon.
func (a *announcement) change() {
	select {
	case a.changed <- struct{}{}:
	default:
	}
}

// stop has the entry removed. It is idempotent.
func (a *announcement) stop() { a.cancel(errWithdrawn) }

func (a *announcement) current() Entry {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.entry
}

// run puts the entry and renews it until the announcement ends.
func (a *announcement) run() {
	defer a.cancel(nil)
	pace := newPace(a.announcer.ttl, a.announcer.random(a.current().Stream))
	for a.ctx.Err() == nil {
		if a.announcer.holds(a.current()) {
			a.withdraw()
			a.tried, a.taken = Entry{}, Entry{}
			select {
			case <-a.ctx.Done():
			case <-a.changed:
			}
			continue
		}
		began := time.Now()
		err := a.put()
		if a.ctx.Err() != nil {
			break
		}
		if errors.Is(err, ErrStale) {
			a.onStale()
			return
		}
		a.report(err, pace.failing())
		a.sleep(pace.next(began, time.Now(), err == nil))
	}
	if !errors.Is(context.Cause(a.ctx), errReplaced) {
		a.withdraw()
	}
}

// put puts the entry. It gives up when the next renewal would be due.
func (a *announcement) put() error {
	ctx, cancel := context.WithTimeout(a.ctx, a.announcer.ttl/3)
	defer cancel()
	a.tried = a.current()
	if a.announcer.load != nil {
		a.tried.Load = a.announcer.load()
	}
	err := a.announcer.dir.Put(ctx, a.tried, a.announcer.ttl)
	if err == nil {
		a.taken = a.tried
	}
	return err
}

// withdraw removes the entry. If the directory has not taken an update that changed the
// epoch, it removes the entry before that, too.
func (a *announcement) withdraw() {
	if a.tried.Node != "" {
		a.remove(a.tried)
	}
	if a.taken.Node != "" && a.taken.Epoch != a.tried.Epoch {
		a.remove(a.taken)
	}
}

// remove removes e, though the announcement's own context has ended.
func (a *announcement) remove(e Entry) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(a.ctx), removeTimeout)
	defer cancel()
	if err := a.announcer.dir.Remove(ctx, e); err != nil {
		a.announcer.log.Warn("announcement left to expire", "stream", e.Stream, "err", err)
	}
}

// report logs the first failure of an outage, and the outage's end.
func (a *announcement) report(err error, failing bool) {
	switch {
	case err != nil && !failing:
		a.announcer.log.Warn("announcing failed", "stream", a.tried.Stream, "err", err)
	case err == nil && failing:
		a.announcer.log.Info("announced again", "stream", a.tried.Stream)
	}
}

// sleep returns at until, after an update or at the announcement's end.
func (a *announcement) sleep(until time.Time) {
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case <-a.ctx.Done():
	case <-a.changed:
	case <-timer.C:
	}
}
