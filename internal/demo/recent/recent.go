// Package recent keeps what is dear to find out for those who ask a moment later.
package recent

import (
	"sync"
	"time"
)

// Of returns a function whose value is f's, and at most that old. It may be called
// concurrently; f is called by one goroutine at a time.
func Of[T any](age time.Duration, f func() T) func() T {
	var mu sync.Mutex
	var at time.Time
	var value T
	return func() T {
		mu.Lock()
		defer mu.Unlock()
		if now := time.Now(); at.IsZero() || now.Sub(at) >= age {
			value, at = f(), now
		}
		return value
	}
}
