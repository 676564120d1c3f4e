package lite

import (
	"sync"
	"time"
)

const (
	// connectTimeout bounds the time until DTLS is up.
	connectTimeout = 20 * time.Second
	// silence is how long nothing authentic may come from a viewer: its checks
	// come every 2.5 s or so (RFC 7675 allows 30 s, which is long for a slot).
	silence = 10 * time.Second
	// watchEvery is how late it may be noticed.
	watchEvery = time.Second
)

// A Watch ends sessions that did not connect, or whose viewer is gone without a
// word. It looks at all of them once a second, so that none needs a timer of its
// own. The zero value is ready to use. Its methods may be called concurrently.
type Watch struct {
	mu       sync.Mutex
	sessions map[*Session]struct{}
	timer    *time.Timer // nil: there are no sessions
}

func (w *Watch) add(s *Session) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.sessions == nil {
		w.sessions = make(map[*Session]struct{})
	}
	w.sessions[s] = struct{}{}
	if w.timer == nil {
		w.timer = time.AfterFunc(watchEvery, w.look)
	}
}

// remove forgets a session. It waits for a look at it.
func (w *Watch) remove(s *Session) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.sessions, s)
	if len(w.sessions) == 0 && w.timer != nil {
		w.timer.Stop()
		w.timer = nil
	}
}

func (w *Watch) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timer == nil {
		return // the last has left meanwhile
	}
	now := time.Now()
	for s := range w.sessions {
		if err := s.missed(now); err != nil {
			s.End(err)
		}
	}
	w.timer.Reset(watchEvery)
}
