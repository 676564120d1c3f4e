package cdn

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/deltacdn/delta/cdn/internal/fanout"
	"github.com/deltacdn/delta/internal/service"
	"github.com/deltacdn/delta/internal/udp/egress"
)

// A Stream is a live stream at this node: the tracks that its inputs feed and
// its viewers and downstream nodes read. Its methods may be called
// concurrently.
type Stream struct {
	// static
	id      StreamID
	node    *Node
	fetched bool // made by NewFetchedStream
	config  streamConfig
	started time.Time
	feed    *fanout.Feed[*egress.Batch]
	ready   chan struct{}
	done    chan struct{}
	wake    chan struct{} // for run; room for one
	wg      sync.WaitGroup
	count   func() // for the last time
	tracks  atomic.Pointer[[]*Track]
	alarm   atomic.Int64 // when consumers are to be served at the latest, in Unix nanoseconds; 0: no matter

	mu     sync.Mutex // innermost: nothing else is locked under it
	inputs inputSet
	err    error
	ended  bool
	after  map[*func(error)]struct{}

	announced bool // run's own until it has returned: StreamStarted was told
}

// NewStream makes a stream that is published at this node and has no input yet.
// Its owner must End it. It fails with [ErrAlreadyPublishing] while there is
// another of that name that was made so and has not ended.
func (n *Node) NewStream(id StreamID) (*Stream, error) { return n.newStream(id, false) }

// NewFetchedStream makes a stream that is fetched from elsewhere: for relays. Its
// name may be that of a stream which is published here, or of one that was fetched
// and is about to end. Otherwise it is as one of NewStream.
func (n *Node) NewFetchedStream(id StreamID) (*Stream, error) { return n.newStream(id, true) }

func (n *Node) newStream(id StreamID, fetched bool) (*Stream, error) {
	s := &Stream{
		id: id, node: n, fetched: fetched, config: n.config.stream(n.Limits()), started: time.Now(),
		feed:  n.pool.NewFeed(),
		ready: make(chan struct{}), done: make(chan struct{}), wake: make(chan struct{}, 1),
		inputs: newInputSet(),
	}
	if err := n.addStream(s); err != nil {
		return nil, err
	}
	s.count = n.Measure(s.measure)
	s.wg.Go(s.run)
	return s, nil
}

// ID returns the stream's name.
func (s *Stream) ID() StreamID { return s.id }

// Node returns the node that the stream is at.
func (s *Stream) Node() *Node { return s.node }

// Tracks returns the stream's tracks: none before it is ready, the same ones
// ever after. The caller must not change the slice.
func (s *Stream) Tracks() []*Track {
	if p := s.tracks.Load(); p != nil {
		return *p
	}
	return nil
}

// Ready waits until the stream's tracks and their codecs are known. It fails
// with the stream's reason if that ends first, or with ctx's.
func (s *Stream) Ready(ctx context.Context) error { return s.await(ctx, s.ready, "wait for tracks") }

// WaitInput waits until the stream has an input: one that is ready may have lost its
// own, and be without until there is another. It fails as Ready does.
func (s *Stream) WaitInput(ctx context.Context) error {
	s.mu.Lock()
	filled := s.inputs.filled
	s.mu.Unlock()
	return s.await(ctx, filled, "wait for an input")
}

func (s *Stream) await(ctx context.Context, what <-chan struct{}, op string) error {
	select {
	case <-what:
		return nil
	case <-s.done:
		return s.Err()
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return &Error{Op: op, Stream: s.id, Err: ErrTimeout}
		}
		return ctx.Err()
	}
}

// Done is closed when the stream has ended; [Stream.Err] then says why.
func (s *Stream) Done() <-chan struct{} { return s.done }

// Err returns why the stream ended, nil while it has not.
func (s *Stream) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// A Consumer reads a stream's layers by cursors. Consume is called by one
// worker at a time; it drains what there is and returns without blocking.
type Consumer interface{ Consume() }

// Attach has c served by one of the node's workers whenever packets may wait
// for it, until the function returned is called; that waits while c is being
// served, so c must not call it itself.
func (s *Stream) Attach(c Consumer) (detach func()) {
	b, ok := c.(service.Batched)
	if !ok {
		return s.feed.Add(unbatched{c}, service.Timing(c))
	}
	if b.Runtime != s.node.runtime {
		return s.feed.Add(unbatched{c}, service.Timing(b.Consumer))
	}
	return s.feed.Add(b.Consumer, service.Timing(b.Consumer))
}

type unbatched struct{ Consumer }

func (u unbatched) Consume(*egress.Batch) { u.Consumer.Consume() }

// WakeAt has the stream's consumers served at t at the latest, though nothing
// may come until then. What consumers have to do at a certain time they ask for so, each
// time that they are served: they have no timers of their own. It does not block.
func (s *Stream) WakeAt(t time.Time) {
	at := t.UnixNano()
	for old := s.alarm.Load(); old == 0 || at < old; old = s.alarm.Load() {
		if s.alarm.CompareAndSwap(old, at) {
			s.kick()
			return
		}
	}
}

// AfterEnd has f called once when the stream has ended, in a goroutine of End's
// caller or, if that was before, at once. f must not block. stop takes it back;
// f may be running then.
func (s *Stream) AfterEnd(f func(error)) (stop func()) {
	s.mu.Lock()
	if s.ended {
		err := s.err
		s.mu.Unlock()
		f(err)
		return func() {}
	}
	defer s.mu.Unlock()
	if s.after == nil {
		s.after = make(map[*func(error)]struct{})
	}
	s.after[&f] = struct{}{}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.after, &f)
	}
}

// End ends the stream: inputs and readers are told why, and then it is gone
// from its node. It waits for the stream's goroutine and is idempotent; the
// first err stays.
func (s *Stream) End(err error) {
	if err == nil {
		err = ErrEnded
	}
	s.mu.Lock()
	first := !s.ended
	if first {
		s.ended, s.err = true, err
		close(s.done)
	}
	inputs := slices.Clone(s.inputs.all)
	after := s.after
	s.after = nil
	s.mu.Unlock()
	for f := range after {
		(*f)(err)
	}
	for _, in := range inputs {
		s.removeInput(in, err)
	}
	s.wg.Wait()
	if first {
		s.count()
		s.node.removeStream(s)
		if s.announced {
			s.node.Emit(StreamEnded{Stream: s.id, Err: err})
		}
	}
}

// Dump writes the packets of a layer to w in rtpdump form, which Wireshark
// reads, until ctx ends or the stream does. The packets carry payload type 96
// and SSRC 1.
func (s *Stream) Dump(ctx context.Context, w io.Writer, l *Layer) error { return dump(ctx, w, l) }
