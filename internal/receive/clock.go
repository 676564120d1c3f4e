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

	telling sync.Mutex // held while sessions tell what they have seen
	tells   []func()   // guarded by telling
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

// remove forgets a session. It waits for a look at it, and for what it tells.
func (c *Clock) remove(s *Session) {
	c.forget(s)
	c.telling.Lock() // a look that had begun is over
	defer c.telling.Unlock()
}

func (c *Clock) forget(s *Session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.sessions, s)
	if len(c.sessions) == 0 && c.timer != nil {
		c.timer.Stop()
		c.timer = nil
	}
}

func (c *Clock) tick() {
	c.telling.Lock()
	defer c.telling.Unlock()
	c.look()
	for i, tell := range c.tells {
		tell()
		c.tells[i] = nil
	}
	c.tells = c.tells[:0]
}

// look looks at all sessions, and notes what they have to tell.
func (c *Clock) look() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timer == nil {
		return // the last has left meanwhile
	}
	now := time.Now()
	for s := range c.sessions {
		if tell := s.tick(now); tell != nil {
			c.tells = append(c.tells, tell)
		}
	}
	c.timer.Reset(clockEvery)
}
