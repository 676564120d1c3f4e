package revocation

import (
	"sync"
	"time"
)

// Names are the grants that were revoked, each until a time. The zero value has none.
// Its methods may be called concurrently.
type Names struct {
	mu      sync.Mutex
	revoked map[string]time.Time // zero: for ever
	sweepAt int                  // length at which to look for what is over
}

// Add has a name until a time, or for ever if that is zero.
func (n *Names) Add(name string, until time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.revoked == nil {
		n.revoked = make(map[string]time.Time)
	}
	if now := time.Now(); len(n.revoked) >= n.sweepAt {
		for name, until := range n.revoked {
			if over(until, now) {
				delete(n.revoked, name)
			}
		}
		n.sweepAt = max(1000, 2*len(n.revoked))
	}
	n.revoked[name] = until
}

// Has reports whether a name was added and its time has not come.
func (n *Names) Has(name string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	until, ok := n.revoked[name]
	if ok && over(until, time.Now()) {
		delete(n.revoked, name)
		return false
	}
	return ok
}

// Len returns the number of names.
func (n *Names) Len() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.revoked)
}

func over(until, now time.Time) bool { return !until.IsZero() && !now.Before(until) }
