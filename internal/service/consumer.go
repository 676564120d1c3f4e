package service

import "github.com/deltacdn/delta/internal/udp/egress"

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
