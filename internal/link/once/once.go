// Package once remembers what may be used only once, such as a proof that travels
// where others can read it.
package once

import (
	"sync"
	"time"
)

// A Key identifies something that may be used once. It must be unpredictable, so
// that nobody can choose another's.
type Key [16]byte

// A Set is what has been used. The zero value must be given its bounds. It may be
// used concurrently.
type Set struct {
	// For is how long a use is remembered.
	For time.Duration
	// Max bounds how many are: beyond it, the oldest are forgotten.
	Max int

	mu   sync.Mutex
	used map[Key]struct{}
	fifo []use // the oldest first, from head on
	head int
}

type use struct {
	key Key
	at  time.Time
}

// Take notes a use, and reports whether it is the first that is remembered.
func (s *Set) Take(now time.Time, k Key) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forgetLocked(now)
	if _, used := s.used[k]; used {
		return false
	}
	if s.used == nil {
		s.used = make(map[Key]struct{})
	}
	s.used[k] = struct{}{}
	s.fifo = append(s.fifo, use{k, now})
	return true
}

// Len returns how many are remembered.
func (s *Set) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.used)
}

// forgetLocked forgets what is too old, and the oldest if there is no room.
func (s *Set) forgetLocked(now time.Time) {
	for s.head < len(s.fifo) && (len(s.used) >= s.Max || now.Sub(s.fifo[s.head].at) > s.For) {
		delete(s.used, s.fifo[s.head].key)
		s.head++
	}
	if 2*s.head > len(s.fifo) {
		s.fifo = append(s.fifo[:0], s.fifo[s.head:]...)
		s.head = 0
	}
}
