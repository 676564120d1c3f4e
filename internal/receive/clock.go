package receive

import (
	"sync"
	"time"
)

// clockEvery is how often a [Clock] looks at sessions.
const clockEvery = 50 * time.Millisecond

// A Clock has the sessions of a node do what is due though no packet comes: reports,
// and what waits for a decision. It looks at all of them, so that none needs a timer
// of its own. The zero value is ready to use. Its methods may be called
// concurrently.
type Clock struct {
	mu       sync.Mutex
	sessions map[*Session]struct{}
	timer    *time.Timer // nil: there are no sessions
}

func (c *Clock) add(s *Session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sessions == nil {
		c.sessions = make(map[*Session]struct{})
	}
	c.sessions[s] = struct{}{}
	if c.timer == nil {
		c.timer = time.AfterFunc(clockEvery, c.tick)
	}
}

// remove forgets a session. It waits for a look at it.
func (c *Clock) remove(s *Session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.sessions, s)
	if len(c.sessions) == 0 && c.timer != nil {
		c.timer.Stop()
		c.timer = nil
	}
}

func (c *Clock) tick() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timer == nil {
		return // the last has left meanwhile
	}
	now := time.Now()
	for s := range c.sessions {
		s.tick(now)
	}
	c.timer.Reset(clockEvery)
}
