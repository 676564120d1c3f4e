package service

import (
	"slices"
	"time"
)

const (
	// A delay differs if it has changed by so much, by both measures.
	delayApart = 2 * time.Millisecond
	delayPart  = 5 // a fifth of it
)

// DelaysDiffer reports whether the delays of a path's hops differ enough from those that
// were announced to be announced again.
func DelaysDiffer(now, announced []time.Duration) bool {
	return !slices.EqualFunc(now, announced, func(a, b time.Duration) bool {
		apart := (a - b).Abs()
		return apart < delayApart || apart < b/delayPart
	})
}
