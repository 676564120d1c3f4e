package edge

import (
	"context"
	"sync"

	"github.com/deltacdn/delta/signal"
)

// changes wakes whoever waits for a change of a viewer's status.
type changes struct {
	mu   sync.Mutex
	next chan struct{} // closed at the next change; nil: nobody waits
}

func (c *changes) tell() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.next != nil {
		close(c.next)
		c.next = nil
	}
}

func (c *changes) wait() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.next == nil {
		c.next = make(chan struct{})
	}
	return c.next
}

// Status implements [signal.StatusSession].
func (v *playSession) Status() signal.Status {
	v.edge.mu.Lock()
	stream := v.stream
	status := signal.Status{Viewers: v.edge.count[v.id], Reconnect: v.goTo != "", ReconnectURL: v.goTo}
	v.edge.mu.Unlock()
	if stream != nil {
		_, status.Active = stream.Input()
	}
	sent := v.transport.Stats()
	status.Layer, status.Paused, status.Mismatch = sent.Layer, sent.Paused, v.mismatch()
	status.Adaptation = v.fitted.status(v.isBest)
	return status
}

// AwaitStatus implements [signal.StatusSession].
func (v *playSession) AwaitStatus(ctx context.Context, seen signal.Status) signal.Status {
	for {
		changed, inputs := v.changes.wait(), v.inputsChanged()
		now := v.Status()
		if seen.Viewers = now.Viewers; now != seen {
			return now
		}
		select {
		case <-changed:
		case <-inputs:
		case <-v.transport.Done():
			return now
		case <-ctx.Done():
			return now
		}
	}
}

// inputsChanged is nil while the stream is not ready: that it becomes ready is a change of
// its own.
func (v *playSession) inputsChanged() <-chan struct{} {
	v.edge.mu.Lock()
	stream := v.stream
	v.edge.mu.Unlock()
	if stream == nil {
		return nil
	}
	return stream.InputsChanged()
}
