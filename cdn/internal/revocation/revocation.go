// Package revocation has contexts by which whoever granted something can take it
// back, from all that hold the grant.
package revocation

import (
	"context"
	"runtime"
	"sync"
	"weak"
)

// A Set has contexts under keys. It keeps each for as long as somebody else holds
// it: what only the Set knows is collected as garbage, and its entry goes. The zero
// value is empty. Its methods may be called concurrently.
type Set[K comparable] struct {
	mu   sync.Mutex
	held map[K]weak.Pointer[revocable]
}

// A revocable is a context that can be revoked. Whoever holds the context holds it,
// and so do the contexts made of it.
type revocable struct {
	context.Context
	revoke context.CancelCauseFunc
}

// Context returns the context under key, which Revoke ends. All callers that hold
// one at the same time share it.
func (s *Set[K]) Context(key K) context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.held[key].Value(); r != nil {
		return r
	}
	ctx, revoke := context.WithCancelCause(context.Background())
	r := &revocable{ctx, revoke}
	if s.held == nil {
		s.held = make(map[K]weak.Pointer[revocable])
	}
	at := weak.Make(r)
	s.held[key] = at
	runtime.AddCleanup(r, func(key K) { s.drop(key, at) }, key)
	return r
}

// drop removes an entry whose context is gone.
func (s *Set[K]) drop(key K, at weak.Pointer[revocable]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held[key] == at {
		delete(s.held, key)
	}
}

// Revoke ends the context under key, with cause, if somebody holds it, and reports
// that. The next call of Context makes a new one.
func (s *Set[K]) Revoke(key K, cause error) bool {
	s.mu.Lock()
	r := s.held[key].Value()
	delete(s.held, key)
	s.mu.Unlock()
	if r == nil {
		return false
	}
	r.revoke(cause)
	return true
}

// Keys returns the keys whose contexts somebody holds, or held until lately.
func (s *Set[K]) Keys() []K {
	s.mu.Lock()
	defer s.mu.Unlock()
	keys := make([]K, 0, len(s.held))
	for key, at := range s.held {
		if at.Value() != nil {
			keys = append(keys, key)
		}
	}
	return keys
}

// Len returns the number of entries.
func (s *Set[K]) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.held)
}
