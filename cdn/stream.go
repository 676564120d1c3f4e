package cdn

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/deltacdn/delta/internal/egress"
	"github.com/deltacdn/delta/internal/fanout"
	"github.com/deltacdn/delta/internal/format"
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
	tracks  atomic.Pointer[[]*Track]
	alarm   atomic.Int64 // when consumers are to be served at the latest, in Unix nanoseconds; 0: no matter

	mu      sync.Mutex    // innermost: nothing else is locked under it
	inputs  []*Input      // the oldest first
	active  *Input        // the one that took a layer last
	told    *Input        // the one that the last InputChanged was about
	overlap time.Time     // when those before it have to go
	fed     chan struct{} // closed while there are inputs
	unfed   chan struct{} // closed when there are none any more; nil before the first
	changed chan struct{} // closed at the next change of inputs
	present time.Time     // when there was last an input whose sender was present, and is not now
	err     error
	ended   bool
	after   map[*func(error)]struct{}

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
		id: id, node: n, fetched: fetched, config: n.config.stream(), started: time.Now(),
		feed:  n.pool.NewFeed(),
		ready: make(chan struct{}), done: make(chan struct{}), fed: make(chan struct{}), changed: make(chan struct{}),
		wake: make(chan struct{}, 1),
	}
	if err := n.addStream(s); err != nil {
		return nil, err
	}
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

// Fed waits until the stream has an input: one that is ready may have lost its
// own, and be without until there is another. It fails as Ready does.
func (s *Stream) Fed(ctx context.Context) error {
	s.mu.Lock()
	fed := s.fed
	s.mu.Unlock()
	return s.await(ctx, fed, "wait for an input")
}

// InputsChanged returns a channel that is closed when the stream gets its first
// input or loses its last. [Stream.Input] then says which.
func (s *Stream) InputsChanged() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.inputs) > 0 {
		return s.unfed
	}
	return s.fed
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
func (s *Stream) Attach(c Consumer) (detach func()) { return s.feed.Add(unbatched{c}) }

// A BatchConsumer is a Consumer that sends from the node's port: what it puts
// into the worker's batch goes out together with what others do.
type BatchConsumer = fanout.Consumer[*egress.Batch]

// AttachBatch is Attach for a session of Delta's own that sends from the port of
// node, which need not be the stream's.
func (s *Stream) AttachBatch(node *Node, c BatchConsumer) (detach func()) {
	if node != s.node {
		c = elsewhere{c, node}
	}
	return s.feed.Add(c)
}

// An elsewhere sends from another node's port than that of the workers that serve
// it, and so by a batch of that node's.
type elsewhere struct {
	BatchConsumer
	node *Node
}

func (e elsewhere) Consume(*egress.Batch) {
	spare := &e.node.transport.spare
	batch := spare.Get().(*egress.Batch)
	e.BatchConsumer.Consume(batch)
	_ = batch.Flush() // a closed socket is noticed by reading
	spare.Put(batch)
}

type unbatched struct{ Consumer }

func (u unbatched) Consume(*egress.Batch) { u.Consumer.Consume() }

// WakeAt has the stream's consumers served at t at the latest, though nothing
// may come until then. Whatever a consumer has to do at a certain time it asks for
// so, each time that it is served: it has no timer of its own. It does not block.
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
	inputs := append([]*Input(nil), s.inputs...)
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
		s.node.removeStream(s)
		if s.announced {
			s.node.Emit(StreamEnded{Stream: s.id, Err: err})
		}
	}
}

// NewInput adds a way in. The newest input that is not on standby takes the
// stream over, layer by layer, each at a keyframe; the one before it then ends
// with [ErrSuperseded]. A stream has two inputs at most: a third one ends the
// one of the two that is not active.
func (s *Stream) NewInput(c InputConfig) (*Input, error) {
	in := &Input{stream: s, done: make(chan struct{})}
	in.config.Store(&c)
	s.mu.Lock()
	if s.ended {
		defer s.mu.Unlock()
		return nil, s.err
	}
	var spare *Input
	if len(s.inputs) == 2 {
		if spare = s.inputs[1]; spare == s.active {
			spare = s.inputs[0]
		}
	}
	changed := s.changingLocked()
	if s.inputs = append(s.inputs, in); len(s.inputs) == 1 {
		close(s.fed)
		s.unfed = make(chan struct{})
	}
	changed()
	s.mu.Unlock()
	if spare != nil {
		s.removeInput(spare, ErrSuperseded)
	}
	return in, nil
}

func (s *Stream) removeInput(in *Input, err error) {
	if err == nil {
		err = ErrClosed
	}
	in.mu.Lock()
	if in.closed {
		in.mu.Unlock()
		return
	}
	in.closed, in.err = true, err
	layers, after := in.layers, in.after
	in.after = nil
	in.mu.Unlock()

	// The layers first: after that nothing of the input can take the stream.
	for _, li := range layers {
		li.layer.removeInput(li)
	}
	s.mu.Lock()
	changed := s.changingLocked()
	if i := slices.Index(s.inputs, in); i >= 0 {
		if s.inputs = slices.Delete(slices.Clone(s.inputs), i, i+1); len(s.inputs) == 0 {
			s.fed = make(chan struct{})
			close(s.unfed)
		}
	}
	if s.active == in {
		s.active = nil
	}
	changed()
	s.mu.Unlock()
	close(in.done)
	for _, f := range after {
		f(err)
	}
	s.kick()
}

// Input returns the configuration of the input that feeds the stream, or is
// about to: the newest, before any has. It is false where there is none.
func (s *Stream) Input() (InputConfig, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.inputLocked()
}

func (s *Stream) inputLocked() (InputConfig, bool) {
	switch {
	case s.active != nil:
		return *s.active.config.Load(), true
	case len(s.inputs) > 0:
		return *s.inputs[len(s.inputs)-1].config.Load(), true
	}
	return InputConfig{}, false
}

// Sender says whether somebody sends the stream: as its [Stream.Input] does, and
// [SenderAbsent] without one. present is when that was last [SenderPresent]: now,
// if it is; zero, if it never was.
func (s *Stream) Sender() (state SenderState, present time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if state = s.senderLocked(); state == SenderPresent {
		return state, time.Now()
	}
	return state, s.present
}

func (s *Stream) senderLocked() SenderState {
	if c, ok := s.inputLocked(); ok {
		return c.Sender
	}
	return SenderAbsent
}

// Changed returns a channel that is closed when something of the inputs changes:
// which there are, which is active, or what one of them says of itself.
func (s *Stream) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// changingLocked is called ahead of a change of the inputs, and what it returns
// after that.
func (s *Stream) changingLocked() (changed func()) {
	before := s.senderLocked()
	return func() {
		if before == SenderPresent && s.senderLocked() != SenderPresent {
			s.present = time.Now()
		}
		close(s.changed)
		s.changed = make(chan struct{})
	}
}

func (s *Stream) current() *Input {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.active
}

// leads reports whether in may take a layer: it is the newest input, or the
// standby of one that is gone.
func (s *Stream) leads(in *Input) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.active == nil || s.active == in {
		return true
	}
	if in.config.Load().Standby {
		return false
	}
	for _, x := range s.inputs {
		switch x {
		case in:
			return false // in is older than the active one
		case s.active:
			return true
		}
	}
	return false
}

// took notes that in has become the active input of a layer.
func (s *Stream) took(in *Input) {
	s.mu.Lock()
	news := s.active != in
	before := s.active
	if news {
		changed := s.changingLocked()
		s.active = in
		changed()
	}
	if before != nil {
		s.overlap = time.Now().Add(s.config.Overlap)
	}
	s.mu.Unlock()
	if news {
		s.kick()
	}
}

// declare makes the stream ready with the first input's tracks, and holds a
// later input's against them. It returns the stream's track for each.
func (s *Stream) declare(infos []TrackInfo, expected map[layerKey]LayerFacts) ([]*Track, error) {
	if err := checkTracks(infos, s.config); err != nil {
		return nil, &Error{Op: "declare tracks", Stream: s.id, Err: err}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return nil, s.err
	}
	if have := s.Tracks(); have != nil {
		tracks, err := match(have, infos)
		if err != nil {
			return nil, &Error{Op: "splice", Stream: s.id, Err: err}
		}
		return tracks, nil
	}
	tracks := make([]*Track, len(infos))
	for i, info := range infos {
		if len(info.Layers) == 0 {
			info.Layers = []string{""}
		}
		tracks[i] = newTrack(s, info)
		for _, l := range tracks[i].Layers() {
			l.expected = expected[layerKey{i, l.name}] // nobody knows the layer yet
		}
	}
	s.tracks.Store(&tracks)
	close(s.ready)
	s.kick()
	return tracks, nil
}

func checkTracks(infos []TrackInfo, c streamConfig) error {
	if len(infos) == 0 {
		return fmt.Errorf("%w: no tracks", ErrInvalid)
	}
	if len(infos) > c.MaxTracks {
		return fmt.Errorf("%w: %d tracks, %d are allowed", ErrOverLimit, len(infos), c.MaxTracks)
	}
	for _, t := range infos {
		if t.Codec.ClockRate == 0 || t.Kind != Audio && t.Kind != Video {
			return fmt.Errorf("%w: track %q has no kind or clock rate", ErrInvalid, t.ID)
		}
		if len(t.Extensions) > maxExtensions {
			return fmt.Errorf("%w: track %q has %d header extensions, %d have an id", ErrOverLimit, t.ID, len(t.Extensions), maxExtensions)
		}
		if len(t.Layers) > c.MaxLayers {
			return fmt.Errorf("%w: %d layers, %d are allowed", ErrOverLimit, len(t.Layers), c.MaxLayers)
		}
	}
	return checkDescription(infos)
}

// maxExtensions is how many ids there are for header extensions (RFC 8285 section
// 4.3).
const maxExtensions = 255

// maxDescription bounds what a stream's tracks are described by, as JSON: on a
// link that travels in one message of some 64 KiB, with what each node adds.
const maxDescription = 32 << 10

func checkDescription(infos []TrackInfo) error {
	b, err := json.Marshal(infos)
	if err != nil {
		return err // strings and numbers can be marshaled
	}
	if len(b) > maxDescription {
		return fmt.Errorf("%w: tracks described by %d bytes, and no link carries more than %d", ErrInvalid, len(b), maxDescription)
	}
	return nil
}

// match pairs infos with the tracks of the same kind, in their order. Whoever was
// answered for a track has to be able to decode what follows it.
func match(have []*Track, infos []TrackInfo) ([]*Track, error) {
	if len(have) != len(infos) {
		return nil, fmt.Errorf("%w: %d tracks follow %d", ErrNoCommonCodec, len(infos), len(have))
	}
	left := slices.Clone(have)
	var tracks []*Track
	for _, info := range infos {
		i := slices.IndexFunc(left, func(t *Track) bool { return t.info.Kind == info.Kind })
		if i < 0 {
			return nil, fmt.Errorf("%w: one %s track more than before", ErrNoCommonCodec, info.Kind)
		}
		a, b := left[i].info.Codec, info.Codec
		if _, ok := format.Format(a).Takes(format.Format(b)); !ok {
			return nil, fmt.Errorf("%w: %s (%s) follows %s (%s)", ErrNoCommonCodec, b.MimeType, b.Fmtp, a.MimeType, a.Fmtp)
		}
		tracks = append(tracks, left[i])
		left = slices.Delete(left, i, i+1)
	}
	return tracks, nil
}

// Dump writes the packets of a layer to w in rtpdump form, which Wireshark
// reads, until ctx ends or the stream does. The packets carry payload type 96
// and SSRC 1.
func (s *Stream) Dump(ctx context.Context, w io.Writer, l *Layer) error { return dump(ctx, w, l) }
