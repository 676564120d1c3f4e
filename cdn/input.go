package cdn

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtp"

	"github.com/deltacdn/delta/internal/codec"
	"github.com/deltacdn/delta/internal/mediaclock"
	"github.com/deltacdn/delta/internal/nack"
	"github.com/deltacdn/delta/internal/seqnum"
)

// InputConfig says where an input's media comes from.
type InputConfig struct {
	// Publication and Epoch are the publisher's: inputs of one publication
	// share a capture clock and are aligned by it.
	Publication string
	Epoch       uint64
	// Path lists the nodes that the media came through, the origin first;
	// empty at the origin itself. What came through a node may come faster than
	// in real time, as the node catches up, and its sender reports have been
	// judged there.
	Path []NodeID
	// Sender says whether somebody sends the media.
	Sender SenderState
	// Standby: the input waits, fed and ready, until the active one ends.
	// Otherwise it takes over as soon as it can, at a keyframe.
	Standby bool
}

// A SenderState says whether somebody sends what an input brings: that nothing
// comes does not tell, since a publisher may be muted, or show a picture that
// stands still.
type SenderState uint8

// The states of an input's sender.
const (
	SenderPresent SenderState = iota // it is connected
	SenderUnknown                    // only what comes shows whether it is
	SenderAbsent                     // the node that the media comes from has no input itself
)

// An Input is one way in which a stream's media reaches this node: a
// publisher's session, or a fetch from another node. A stream has one active
// and at most one more; [Stream.NewInput] says how one follows another.
// Its methods may be called concurrently.
type Input struct {
	stream *Stream
	done   chan struct{}

	config atomic.Pointer[InputConfig]
	video  atomic.Bool // it declared a video track

	clock publisherClock

	mu     sync.Mutex
	tracks []*Track // of the stream, for those that were declared
	layers []*LayerInput
	closed bool
	// expected is what is known of layers that were not asked for yet.
	expected map[layerKey]LayerFacts
	err      error
	after    []func(error)
}

// Update says that what the input's media comes through has changed upstream,
// and so perhaps the publication. Whether the input is on standby stays.
func (in *Input) Update(c InputConfig) {
	s := in.stream
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.changingLocked()()
	c.Standby = in.config.Load().Standby
	in.config.Store(&c)
}

// Done is closed when the input's media is not wanted any more, or was closed;
// [Input.Err] says why. Its owner should then end the session behind it.
func (in *Input) Done() <-chan struct{} { return in.done }

// Err returns why the input is done: [ErrSuperseded] after another took over,
// the stream's reason after that ended, or what Close was given.
func (in *Input) Err() error {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.err
}

// AfterDone has f called once when the input is done, in a goroutine of whoever ends
// it or, if that was before, at once. f must not block.
func (in *Input) AfterDone(f func(error)) {
	in.mu.Lock()
	if in.closed {
		in.mu.Unlock()
		f(in.err)
		return
	}
	in.after = append(in.after, f)
	in.mu.Unlock()
}

// Start declares the input's tracks. The first input's tracks become the
// stream's; those of a later one are matched with them by kind and order. A
// decoder of the first input's formats must be able to take those that follow,
// as one of H.264 High takes Constrained Baseline: otherwise Start fails with
// [ErrNoCommonCodec], since receivers cannot follow without a new negotiation.
func (in *Input) Start(tracks []TrackInfo) error {
	for _, t := range tracks {
		if t.Kind == Video {
			in.video.Store(true)
		}
	}
	in.mu.Lock()
	expected := in.expected
	in.mu.Unlock()
	matched, err := in.stream.declare(tracks, expected)
	if err != nil {
		return err
	}
	in.mu.Lock()
	in.tracks = matched
	in.mu.Unlock()
	return nil
}

// Close ends the input. Err is kept for [Input.Err]; the stream goes on with
// its other input, if it has one, and is otherwise silent until the next.
func (in *Input) Close(err error) { in.stream.removeInput(in, err) }

// A Back carries requests back to who sends a layer. Its methods are called
// without locks, from one goroutine of the stream; they must not block.
type Back interface {
	// RequestKeyframe asks for a keyframe (RFC 4585 PLI, or RFC 5104 FIR).
	RequestKeyframe()
	// Nack asks for packets again (RFC 4585 generic NACK). The slice is the
	// caller's.
	Nack(seqs []uint16)
}

// Layer returns the input's end of a layer: track is an index into what Start
// was given, name the RID or "". It fails with [ErrInvalid] for a track that
// was not declared, and with [ErrOverLimit] for more layers than a track may
// have.
func (in *Input) Layer(track int, name string, back Back) (*LayerInput, error) {
	l, err := in.layerFor(track, name)
	if err != nil {
		return nil, err
	}
	li := in.newLayerInput(l, back)
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.closed {
		return nil, in.err
	}
	in.layers = append(in.layers, li)
	li.facts = in.expected[layerKey{track, name}]
	l.addInput(li)
	in.stream.kick()
	return li, nil
}

// Successor returns the input's end of the same layer for another SSRC, by which the
// sender goes on in place of the one before. Its first packet continues li's
// numbers, be it part of a keyframe or not; li takes nothing any more. It fails with
// the reason of an input that is done.
func (li *LayerInput) Successor(back Back) (*LayerInput, error) {
	in, l := li.input, li.layer
	next := in.newLayerInput(l, back)
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.closed {
		return nil, in.err
	}
	if i := slices.Index(in.layers, li); i >= 0 {
		in.layers[i] = next
	}
	l.replaceInput(li, next)
	in.stream.kick()
	return next, nil
}

func (in *Input) newLayerInput(l *Layer, back Back) *LayerInput {
	info, relayed := l.track.info, len(in.config.Load().Path) > 0
	return &LayerInput{
		input: in, layer: l, back: back,
		numbers: numbering{line: seqnum.NewLine(lineConfig(info, relayed)), begins: true},
		track:   mediaclock.NewTrack(info.Codec.ClockRate, relayed),
		nack:    nack.New(nack.Config{}),
		asking:  newAsking(in.stream),
		demand:  newDemand(back),
	}
}

func (in *Input) layerFor(track int, name string) (*Layer, error) {
	in.mu.Lock()
	tracks := in.tracks
	in.mu.Unlock()
	s := in.stream
	if track < 0 || track >= len(tracks) {
		return nil, &Error{Op: "write", Stream: s.id, Err: fmt.Errorf("%w: no track %d", ErrInvalid, track)}
	}
	t := tracks[track]
	if t.Layer(name) == nil && len(t.Layers()) >= s.config.MaxLayers {
		return nil, &Error{Op: "write", Stream: s.id, Err: fmt.Errorf("%w: layer %q", ErrOverLimit, name)}
	}
	return t.layer(name), nil
}

// A LayerInput is where one layer of an input is written. One goroutine at a
// time writes.
type LayerInput struct {
	input *Input
	layer *Layer
	back  Back

	// guarded by layer.mu
	gone      bool // removed: what still comes is not wanted
	numbers   numbering
	nack      *nack.Generator
	asking    asking
	demand    demand
	track     mediaclock.Track
	early     *report       // that came before any packet
	facts     LayerFacts    // what its sender knows of the layer
	first     time.Time     // when the first packet came; zero: none yet
	heard     time.Time     // when something last came
	keyed     bool          // a keyframe was recognised
	claimed   time.Time     // when one was last recognised, proved or not
	since     int           // frames since claimed
	begun     bool          // it took the layer, and what with is known
	sets      parameterSets // of what came ahead of the keyframe at which it takes the layer
	shift     shift
	match     sibling
	continued bool // it took the layer where another input of the same encoder ended
	follows   bool // it takes the place of the active one with its first packet
	ahead     bool // it brought what is newer than what the layer has, and waits
	requests  []uint64
}

// shift is what a splice adds to an input's numbers so that they continue
// those before it.
type shift struct {
	seq, ts uint64 // modulo 2^64
	from    uint64 // mapped number where the splice was: older ones are not wanted
	picture codec.Picture
	frame   uint16
	moved   bool // whether picture and frame apply
}

// at returns the timestamp that is sent for ts.
func (s *shift) at(ts uint64) uint64 { return ts + s.ts }

// Ext is one RTP header extension of a packet, with an id of the track's list.
type Ext struct {
	ID   uint8
	Data []byte
}

// Track returns the stream's track that is written. Its list of extensions is
// what the ids of [Ext] count in; a later input's own may be in another order.
func (li *LayerInput) Track() *Track { return li.layer.track }

// Write takes a packet that arrived at now. It copies what it keeps: the
// caller may reuse everything, but after a splice finds picture identifiers in
// p.Payload and ext changed. ext holds the extensions that travel on; p's own
// are not looked at. Duplicates, padding and what a splice has passed by
// are dropped. It does not block, and allocates once in many packets.
//
// Where the sequence number or the timestamp jumps, the sender has begun anew, and
// what follows is spliced on as that of another input would be.
func (li *LayerInput) Write(now time.Time, p *rtp.Packet, ext []Ext) {
	if li.write(now, p, ext) {
		li.layer.track.stream.feed.Wake()
	}
}

// write is Write without waking those who receive the stream. It reports whether
// there is something to wake them for.
func (li *LayerInput) write(now time.Time, p *rtp.Packet, ext []Ext) (wrote bool) {
	l := li.layer
	l.mu.Lock()
	wrote = li.writeLocked(now, p, ext)
	due := li.nack.Missing() > 0
	l.mu.Unlock()
	if due {
		l.track.stream.kick()
	}
	return wrote
}

// Ahead reports whether the input, which another keeps waiting, has brought what is
// newer than all that the layer has: that one has stopped, or is behind.
func (li *LayerInput) Ahead() bool {
	li.layer.mu.Lock()
	defer li.layer.mu.Unlock()
	return li.ahead || li.layer.active == li
}

// RTT returns the round trip to the sender as repairs have shown it.
func (li *LayerInput) RTT() time.Duration {
	li.layer.mu.Lock()
	defer li.layer.mu.Unlock()
	return li.nack.RTT()
}
