package edge

import (
	"context"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/jitter"
)

const (
	// The viewers of a node that leaves are sent elsewhere over leadWithin, or over half of
	// the time that is left if that is less, so that they do not all come at once.
	leadWithin = 15 * time.Second
	// leadAgain is how often a node is looked for again for viewers that could not be sent
	// elsewhere.
	leadAgain = time.Second
	// askAgain is how long a viewer that was asked to go has until it is asked again.
	askAgain = 5 * time.Second
)

// Drain implements [cdn.Drainer]: viewers that listen to events are asked to reconnect to
// the nodes that the Steerer names ([signal.Status].Reconnect), one after another. The
// others stay until the deadline.
func (e *Edge) Drain(until time.Time) {
	within := leadWithin
	if !until.IsZero() {
		within = min(within, max(time.Until(until)/2, 0))
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return
	}
	e.stopLeadingLocked()
	ctx, cancel := context.WithCancel(context.Background())
	e.leading = cancel
	e.work.Go(func() { e.steerAway(ctx, within) })
}

// Undrain implements [cdn.Drainer].
func (e *Edge) Undrain() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.stopLeadingLocked()
	for v := range e.viewers {
		if v.goTo != "" {
			v.goTo = ""
			v.changes.tell()
		}
	}
}

func (e *Edge) stopLeadingLocked() {
	if e.leading != nil {
		e.leading()
		e.leading = nil
	}
}

// steerAway sends the viewers elsewhere, until ctx ends.
func (e *Edge) steerAway(ctx context.Context, within time.Duration) {
	chance := jitter.New("lead " + string(e.node.ID()))
	begun := time.Now()
	due := make(map[*playSession]time.Time)
	for ctx.Err() == nil {
		now := time.Now()
		wait := leadAgain
		urls := make(map[cdn.StreamID]string)
		for _, v := range e.staying() {
			at, known := due[v]
			if !known {
				at = begun.Add(chance.Below(within))
				due[v] = at
			}
			if now.Before(at) {
				wait = min(wait, at.Sub(now))
				continue
			}
			url, asked := urls[v.id]
			if !asked { // once a round and stream, whatever the number of viewers
				url = e.steer(ctx, Visit{Stream: v.id, Reason: SteerLeaving})
				urls[v.id] = url
			}
			e.leadTo(v, url, now)
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// leadTo asks a viewer to go to the node at url; "": there is none.
func (e *Edge) leadTo(v *playSession, url string, now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if url != "" && url != v.goTo {
		v.goTo = url
		v.changes.tell()
	}
	v.askedAt = now
}

// staying returns the viewers that are to be asked to go. One that was asked and is still
// here may have been refused there.
func (e *Edge) staying() (all []*playSession) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.Now()
	for v := range e.viewers {
		if v.transport != nil && now.Sub(v.askedAt) > askAgain {
			all = append(all, v)
		}
	}
	return all
}
