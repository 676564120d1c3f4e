package resource

import (
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/signal"
)

// Why a session has ended is kept for a while, so that its client can learn it.
const (
	remember    = time.Minute
	maxMemories = 1000
)

// A table holds the sessions by their paths. It notices sessions that end by themselves when
// somebody requests them, and by a timer: no goroutine waits for them.
type table struct {
	mu       sync.Mutex
	sessions map[string]*entry
	ended    map[string]memory
	sweeper  *time.Timer // runs while there is something to sweep
	closed   bool

	over     chan struct{} // closed when close has done its work
	closeErr error         // of that; is set before
}

type memory struct {
	err     error
	until   time.Time
	goodbye func() // see farewell; nil: nothing is to be done
}

// A farewell is a session whose client may say goodbye once the session is over. Farewell
// returns what to call then, which outlives the session.
type farewell interface{ Farewell() (goodbye func()) }

// sweepEvery bounds how long an ended session stays in memory.
const sweepEvery = 10 * time.Second

func newTable() table {
	return table{sessions: make(map[string]*entry), ended: make(map[string]memory), over: make(chan struct{})}
}

// add returns the path of a new session. It is false when the table is closed.
func (t *table) add(prefix string, s *entry) (path string, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return "", false
	}
	path = prefix + s.ID()
	t.sessions[path] = s
	if t.sweeper == nil {
		t.sweeper = time.AfterFunc(sweepEvery, t.sweep)
	}
	return path, true
}

func (t *table) sweep() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for path, s := range t.sessions {
		t.endedLocked(path, s)
	}
	now := time.Now()
	for path, m := range t.ended {
		if now.After(m.until) {
			delete(t.ended, path)
		}
	}
	if t.closed || len(t.sessions)+len(t.ended) == 0 {
		t.sweeper = nil
		return
	}
	t.sweeper.Reset(sweepEvery)
}

// endedLocked moves a session to the memories if it has ended.
func (t *table) endedLocked(path string, s *entry) bool {
	select {
	case <-s.Done():
	default:
		return false
	}
	delete(t.sessions, path)
	if len(t.ended) >= maxMemories {
		clear(t.ended)
	}
	err := s.Err()
	if err == nil {
		err = cdn.ErrClosed
	}
	m := memory{err: err, until: time.Now().Add(remember)}
	if f, ok := s.Session.(farewell); ok {
		m.goodbye = f.Farewell()
	}
	t.ended[path] = m
	return true
}

// sayGoodbye passes the goodbye of a client on whose session at path is over.
func (t *table) sayGoodbye(path string) {
	t.mu.Lock()
	if s := t.sessions[path]; s != nil {
		t.endedLocked(path, s)
	}
	goodbye := t.ended[path].goodbye
	t.mu.Unlock()
	if goodbye != nil {
		goodbye()
	}
}

// find returns the session at path, or why it ended if that is remembered.
func (t *table) find(path string) (*entry, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.sessions[path]; s != nil && !t.endedLocked(path, s) {
		return s, nil
	}
	if m, ok := t.ended[path]; ok && time.Now().Before(m.until) {
		return nil, m.err
	}
	return nil, nil
}

// drop forgets the session at path altogether. It returns false if there is none.
func (t *table) drop(path string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, ok := t.sessions[path]
	delete(t.sessions, path)
	return ok
}

// close ends the sessions and waits for that. Each call does, and returns the same error.
func (t *table) close() error {
	t.mu.Lock()
	first := !t.closed
	t.closed = true
	if t.sweeper != nil {
		t.sweeper.Stop()
	}
	all := make([]*entry, 0, len(t.sessions))
	for _, s := range t.sessions {
		all = append(all, s)
	}
	clear(t.sessions)
	t.mu.Unlock()
	if first {
		t.closeErr = closeAll(all)
		close(t.over)
	}
	<-t.over
	return t.closeErr
}

func closeAll(all []*entry) error {
	var g errgroup.Group
	g.SetLimit(closeAtOnce)
	for _, s := range all {
		g.Go(func() error {
			if s, ok := s.Session.(signal.EndableSession); ok {
				s.End(cdn.ErrClosed) // the server closes; no client has said goodbye
			}
			return s.Close()
		})
	}
	return g.Wait()
}

// closeAtOnce bounds how many sessions are closed concurrently: each may wait for its peer
// to hang up.
const closeAtOnce = 64
