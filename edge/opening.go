package edge

import (
	"context"
	"errors"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/trouble"
)

// An opening gets a viewer its stream, which may not be there yet. One goroutine at a time
// uses it.
type opening struct {
	edge     *Edge
	id       cdn.StreamID
	sub      *cdn.Subscription // nil between two attempts
	deadline time.Time         // of this attempt
	giveUp   time.Time         // from then on a stream that is not there is not asked for again

	beginning *beginning      // that it is a step of
	traced    context.Context // carries that step's span; nil: it has not begun
	span      cdn.Span
}

func (e *Edge) open(id cdn.StreamID, b *beginning) *opening {
	return &opening{edge: e, id: id, beginning: b, giveUp: time.Now().Add(e.config.Wait)}
}

// retryEvery is how often a stream that is not there is asked for again.
const retryEvery = 250 * time.Millisecond

// errNotYet says that the stream is neither ready nor given up.
var errNotYet = errors.New("edge: the stream is not ready yet")

// wait returns nil when the stream is ready, and otherwise why it cannot be had or why ctx
// ended. At the time until, unless that is zero, it fails with errNotYet, and may be called
// again.
func (op *opening) wait(ctx context.Context, until time.Time) error {
	if op.traced == nil {
		op.traced, op.span = op.edge.node.Trace(op.beginning.ctx, spanWait)
	}
	err := op.await(op.beginning.with(ctx, op.traced), until)
	if !errors.Is(err, errNotYet) {
		op.span.End(err)
	}
	return err
}

// await is wait without its span.
func (op *opening) await(ctx context.Context, until time.Time) error {
	for {
		var changed <-chan struct{}
		if n, ok := op.edge.config.Source.(cdn.Notifier); ok {
			changed = n.Changed()
		}
		err := op.attempt(ctx, until)
		if remote(err) { // a Source other than a relay may have it from another node
			err = op.failed(trouble.Upstream(op.id, err))
		}
		switch {
		case err == nil || errors.Is(err, errNotYet):
			return err
		case ctx.Err() != nil:
			return op.failed(context.Cause(ctx))
		case !errors.Is(err, cdn.ErrNotFound) || !time.Now().Add(retryEvery).Before(op.giveUp):
			return err
		}
		pause, last := retryEvery, false
		if !until.IsZero() && time.Until(until) < pause {
			pause, last = time.Until(until), true
		}
		select {
		case <-ctx.Done():
			return op.failed(context.Cause(ctx))
		case <-changed:
			last = false
		case <-time.After(pause):
		}
		if last {
			return errNotYet
		}
	}
}

// attempt opens the stream, unless it is open, and waits until it is ready.
func (op *opening) attempt(ctx context.Context, until time.Time) error {
	if op.sub == nil {
		op.deadline = time.Now().Add(op.edge.config.FetchTimeout)
	}
	if until.IsZero() || until.After(op.deadline) {
		until = op.deadline
	}
	if op.sub == nil {
		ctx, cancel := context.WithDeadline(ctx, op.deadline)
		defer cancel()
		sub, err := op.edge.config.Source.Open(ctx, cdn.Request{Stream: op.id})
		if err != nil {
			return err
		}
		op.sub = sub
	}
	stream := op.sub.Stream()
	if stream.Tracks() != nil && stream.Err() == nil {
		return nil
	}
	short, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	err := stream.Ready(short)
	switch ended := stream.Err(); { // it may be ready and ended
	case ended != nil:
		err = ended
	case stream.Tracks() != nil:
		return nil
	case ctx.Err() == nil && time.Now().Before(op.deadline):
		return errNotYet
	}
	op.close()
	return op.failed(err)
}

// remote reports whether err comes from another node.
func remote(err error) bool {
	var e *cdn.Error
	for at := err; errors.As(at, &e); at = e.Err {
		if e.Remote() {
			return true
		}
	}
	return false
}

func (op *opening) failed(err error) error { return &cdn.Error{Op: "play", Stream: op.id, Err: err} }

// close closes the subscription.
func (op *opening) close() {
	if op.sub != nil {
		op.sub.Close()
		op.sub = nil
	}
}
