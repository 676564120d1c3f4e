package service

import (
	"time"

	"github.com/deltacdn/delta/internal/udp/egress"
)

// A Consumer reads a stream and sends from a node's port: what it puts into the batch
// leaves together with what other consumers put there. One worker at a time calls
// Consume, which drains what there is and returns without blocking.
type Consumer interface {
	Consume(batch *egress.Batch)
}

// A Batched is a [Consumer] in the form that [cdn.Stream.Attach] takes. Where the
// stream is of the node from whose port the Consumer sends, the stream's workers give
// it their batches; otherwise it has one of its own node's.
//
// [cdn.Stream.Attach]: https://pkg.go.dev/github.com/deltacdn/delta/cdn#Stream.Attach
type Batched struct {
	Runtime  *Runtime // of the node from whose port it sends
	Consumer Consumer
}

// Consume serves the Consumer with a batch of its node's.
func (b Batched) Consume() {
	batch, ok := b.Runtime.spare.Get().(*egress.Batch)
	if !ok {
		batch = b.Runtime.Egress.NewBatch()
	}
	b.Consumer.Consume(batch)
	_ = batch.Flush() // a closed socket is noticed by reading
	b.Runtime.spare.Put(batch)
}

// A Timed is a consumer that has things to do at certain times, though nothing comes of
// the stream then: to send what it has held back. It has no timer of its own.
type Timed interface {
	// ServeBy is called when the consumer is attached to a stream, ahead of the first
	// Consume. The consumer calls serveAt to be served at a time, alone, by the worker that
	// serves it anyway. serveAt does not block and may be called from any goroutine, in
	// Consume as well; after the consumer was detached it does nothing. Of the times asked
	// for the earliest counts, until it has come, and the others are forgotten. It is met to
	// about a millisecond, and the consumer is not served ahead of it.
	ServeBy(serveAt func(time.Time))
}

// Timing returns the consumer's ServeBy, or nil if it is not a [Timed].
func Timing(consumer any) func(serveAt func(time.Time)) {
	if t, ok := consumer.(Timed); ok {
		return t.ServeBy
	}
	return nil
}
