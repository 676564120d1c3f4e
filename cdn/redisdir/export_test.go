package redisdir

import (
	"sync/atomic"
	"time"
)

// Skewed returns c for a node whose clock is ahead.
func Skewed(c Config, ahead time.Duration) Config {
	c.now = func() time.Time { return time.Now().Add(ahead) }
	return c
}

// Deaf returns c for a node that does not hear the others while deaf.
func Deaf(c Config, deaf *atomic.Bool) Config {
	c.deaf = deaf
	return c
}
