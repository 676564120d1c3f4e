// Package jitter keeps the nodes of a network from doing things in step. What it draws
// depends on a name alone, so that tests in virtual time can be repeated.
package jitter

import (
	"hash/fnv"
	"io"
	"math/rand/v2"
	"sync"
	"time"
)

// A Source draws chance. Its methods may be called concurrently.
type Source struct {
	mu   sync.Mutex
	rand *rand.Rand
}

// New returns the Source of a name, such as a node's with what it is for.
func New(name string) *Source {
	h := fnv.New64a()
	_, _ = io.WriteString(h, name) // it does not fail
	return &Source{rand: rand.New(rand.NewPCG(h.Sum64(), 0))}
}

// Float64 returns a number in [0, 1).
func (s *Source) Float64() float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rand.Float64()
}

// Below returns a time from 0 to d, d not included; 0 if d is not positive.
func (s *Source) Below(d time.Duration) time.Duration {
	return time.Duration(s.Float64() * float64(max(d, 0)))
}
