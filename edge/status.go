package edge

import (
	"context"
	"sync"

	"github.com/deltacdn/delta/signal"
)

// changes tells those who wait that a viewer's status may have changed.
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
func (v *viewer) Status() signal.Status {
	v.edge.mu.Lock()
	stream := v.stream
	status := signal.Status{Viewers: v.edge.count[v.id]}
	v.edge.mu.Unlock()
	if stream != nil {
		_, status.Active = stream.Input()
	}
	sent := v.transport.Stats()
	status.Layer, status.Paused, status.Mismatch = sent.Layer, sent.Paused, v.mismatch()
	return status
}

// AwaitStatus implements [signal.StatusSession].
func (v *viewer) AwaitStatus(ctx context.Context, seen signal.Status) signal.Status {
	for {
		changed, inputs := v.changes.wait(), v.inputsChanged()
		now := v.Status()
		if seen.Viewers = now.Viewers; now != seen {
			return now
		}
		select {
		case <-changed:
		case <-inputs:
		case <-v.Done():
			return now
		case <-ctx.Done():
			return now
		}
	}
}

// inputsChanged is nil while there is no stream, which is a change of its own.
func (v *viewer) inputsChanged() <-chan struct{} {
	v.edge.mu.Lock()
	stream := v.stream
	v.edge.mu.Unlock()
	if stream == nil {
		return nil
	}
	return stream.InputsChanged()
}
