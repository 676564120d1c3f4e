package origin

import "sync"

// turns has what is told of one publisher be told one after another, in the order in which
// it happened, without any lock. A handler may take long, and may call the node and the
// publisher's session, even to wait for its end. The zero value is ready to use. Its methods
// may be called concurrently.
type turns struct {
	mu    sync.Mutex
	taken bool     // somebody tells, and will tell what waits as well
	waits []func() // the oldest first
}

// take calls tell, and then what waits meanwhile. If somebody else is telling, tell is called
// once that is done, and take does not wait for it.
func (t *turns) take(tell func()) {
	if t.enter(tell) {
		t.run()
	}
}

// spawn is take for a caller that must not be held up: a goroutine tells, and work waits for
// it. The caller must be counted in work, so that Wait cannot have returned.
func (t *turns) spawn(work *sync.WaitGroup, tell func()) {
	if t.enter(tell) {
		work.Go(t.run)
	}
}

// enter has tell wait for its turn. It reports whether the caller has to call run.
func (t *turns) enter(tell func()) (first bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.waits = append(t.waits, tell)
	first = !t.taken
	t.taken = true
	return first
}

// run tells all that waits.
func (t *turns) run() {
	for tell := t.next(); tell != nil; tell = t.next() {
		tell()
	}
}

func (t *turns) next() (tell func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.waits) == 0 {
		t.taken, t.waits = false, nil
		return nil
	}
	tell, t.waits = t.waits[0], t.waits[1:]
	return tell
}
