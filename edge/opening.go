package edge

import (
	"context"
	"errors"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/reason"
)

// An opening is a viewer's wish for a stream, which may not be there yet. One
// goroutine at a time uses it.
type opening struct {
	edge     *Edge
	id       cdn.StreamID
	sub      *cdn.Subscription // nil between two attempts
	deadline time.Time         // of this attempt
	giveUp   time.Time         // when a stream that is not there is not asked for again
}

func (e *Edge) open(id cdn.StreamID) *opening {
	return &opening{edge: e, id: id, giveUp: time.Now().Add(e.config.Wait)}
}

// retryEvery is how often a stream that is waited for is asked for again.
const retryEvery = 250 * time.Millisecond

// errNotYet: the stream is neither ready nor given up.
var errNotYet = errors.New("edge: the stream is not ready yet")

// wait returns when the stream is ready, why it cannot be had, or why ctx ended;
// at the instant until, unless that is zero, it fails with errNotYet, and may be
// called again.
func (op *opening) wait(ctx context.Context, until time.Time) error {
	for {
		var changed <-chan struct{}
		if n, ok := op.edge.config.Source.(cdn.Notifier); ok {
			changed = n.Changed()
		}
		err := op.attempt(ctx, until)
		if remote(err) { // a Source other than a relay may have it from another node
			err = op.failed(reason.Upstream(op.id, err))
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

// attempt opens the stream, unless that is done, and waits for it.
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
	switch ended := stream.Err(); { // both may be so at one time
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

// remote reports whether another node told of err.
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

// close gives the demand back.
func (op *opening) close() {
	if op.sub != nil {
		op.sub.Close()
		op.sub = nil
	}
}
