package endpoint

import (
	"sync"
	"time"
)

const (
	// connectTimeout bounds the time until DTLS is up.
	connectTimeout = 20 * time.Second
	// silence is how long a peer may send nothing authentic: its checks come every 2.5 s
	// or so. RFC 7675 allows 30 s, which is long for a slot.
	silence = 10 * time.Second
	// watchEvery bounds how late that is noticed.
	watchEvery = time.Second
)

// A Watch ends endpoints that do not connect, or whose peer is gone without a goodbye.
// It checks all of them once a second, so that none needs a timer of its own. The zero
// value is ready to use. It may be used concurrently.
type Watch struct {
	mu        sync.Mutex
	endpoints map[*Endpoint]struct{}
	timer     *time.Timer // nil: there are no endpoints
}

func (w *Watch) add(e *Endpoint) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.endpoints == nil {
		w.endpoints = make(map[*Endpoint]struct{})
	}
	w.endpoints[e] = struct{}{}
	if w.timer == nil {
		w.timer = time.AfterFunc(watchEvery, w.check)
	}
}

// remove forgets an endpoint. It waits for a check that is under way.
func (w *Watch) remove(e *Endpoint) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.endpoints, e)
	if len(w.endpoints) == 0 && w.timer != nil {
		w.timer.Stop()
		w.timer = nil
	}
}

func (w *Watch) check() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timer == nil {
		return // the last has left meanwhile
	}
	now := time.Now()
	for e := range w.endpoints {
		if err := e.missed(now); err != nil {
			e.End(err)
		}
	}
	w.timer.Reset(watchEvery)
}
