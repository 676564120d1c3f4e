package cdn

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtp"

	"github.com/deltacdn/delta/cdn/internal/mediaclock"
	"github.com/deltacdn/delta/cdn/internal/nack"
	"github.com/deltacdn/delta/internal/rtp/seqnum"
	"github.com/deltacdn/delta/internal/service"
)

// InputConfig describes where an input's media comes from.
type InputConfig struct {
	// Publication and Epoch are the publisher's. Inputs of one publication share a
	// capture clock and are aligned by it.
	Publication string
	Epoch       uint64
	// Path lists the nodes that the media came through, the origin first. It is empty
	// at the origin itself. Media that came through a node may arrive faster than in
	// real time while that node catches up, and its sender reports were checked there.
	Path []NodeID
	// Delays are the one-way delays of the hops, as the nodes measure them on their
	// links: from each node of Path to the next, and from the last to this one. Nil
	// means that they are not known.
	Delays []time.Duration
	// Sender says whether anybody sends the media.
	Sender SenderState
	// Standby has the input wait, with media coming, until the active one ends.
	// Otherwise it takes over as soon as it can, at a keyframe.
	Standby bool
	// Handover has the input take over between two frames, so that none is left out or
	// shown twice, if it brings the same publication as the active one. Its media is
	// kept until then. If that is not possible within 3 s, it takes over at a keyframe.
	Handover bool
}

// A SenderState says whether anybody sends an input's media. Silence does not tell: a
// publisher may be muted, or share a screen on which nothing moves.
type SenderState uint8

// The states of an input's sender.
const (
	SenderPresent SenderState = iota // it is connected
	SenderUnknown                    // only its media shows whether it is
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
	uplink atomic.Pointer[Uplink]

	clock publisherClock

	mu     sync.Mutex
	tracks []*Track        // of the stream, for those that were declared
	sets   []parameterSets // for each of these
	layers []*LayerInput
	closed bool
	// expected is what is known of layers that were not asked for yet.
	expected map[layerKey]LayerFacts
	err      error
	after    []func(error)
}

// Update replaces the input's configuration after a change upstream: of the path that
// its media takes, and perhaps of the publication. Standby and Handover are kept.
func (in *Input) Update(c InputConfig) {
	s := in.stream
	s.mu.Lock()
	before := in.config.Load()
	c.Standby, c.Handover = before.Standby, before.Handover
	s.inputs.change(func() { in.config.Store(&c) })
	active := s.inputs.active == in
	s.mu.Unlock()
	if active && service.DelaysDiffer(c.Delays, before.Delays) {
		s.node.Emit(DelaysChanged{Stream: s.id, Path: c.Path, Delays: c.Delays})
	}
}

// SetDelays sets the delays of the path's hops, if path is still the input's and the
// delays have changed by a fifth and 2 ms.
func (in *Input) SetDelays(path []NodeID, delays []time.Duration) {
	s := in.stream
	s.mu.Lock()
	before := in.config.Load()
	if !slices.Equal(before.Path, path) || !service.DelaysDiffer(delays, before.Delays) {
		s.mu.Unlock()
		return
	}
	c := *before
	c.Delays = delays
	s.inputs.change(func() { in.config.Store(&c) })
	active := s.inputs.active == in
	s.mu.Unlock()
	if active {
		s.node.Emit(DelaysChanged{Stream: s.id, Path: path, Delays: delays})
	}
}

// Config returns the input's present configuration.
func (in *Input) Config() InputConfig { return *in.config.Load() }

// Done returns a channel that is closed when the input has ended: its media is not
// wanted any more, or it was closed. [Input.Err] says why. Its owner should then end
// the session behind it.
func (in *Input) Done() <-chan struct{} { return in.done }

// Err returns why the input is done: [ErrSuperseded] after another took over,
// the stream's reason after that ended, or what Close was given.
func (in *Input) Err() error {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.err
}

// AfterDone has f called once when the input has ended, by the goroutine that ends it,
// or at once if it has ended already. f must not block.
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
	sets := make([]parameterSets, len(tracks))
	if len(in.config.Load().Path) == 0 { // a node has put them into what it sends
		for i, t := range tracks {
			sets[i] = declaredSets(t)
		}
	}
	in.mu.Lock()
	in.tracks, in.sets = matched, sets
	in.mu.Unlock()
	return nil
}

// Close ends the input with err, which [Input.Err] then returns. The stream goes on with
// its other input if it has one, and is silent until the next one otherwise.
func (in *Input) Close(err error) { in.stream.removeInput(in, err) }

// An Upstream carries requests to the sender of a layer. One goroutine of the stream
// calls its methods, without locks; they must not block. Where a nil Upstream is given,
// nothing is requested.
type Upstream interface {
	// RequestKeyframe asks for a keyframe (RFC 4585 PLI, or RFC 5104 FIR).
	RequestKeyframe()
	// Nack asks for packets again (generic NACK, RFC 4585 section 6.2.1). It must not
	// retain the slice.
	Nack(seqs []uint16)
}

// noUpstream is an Upstream that drops all requests.
type noUpstream struct{}

func (noUpstream) RequestKeyframe() {}
func (noUpstream) Nack([]uint16)    {}

// Layer returns what writes a layer of the input. track is an index into the slice that
// Start was given, and name is the RID, or "". Layer fails with [ErrInvalid] for a track
// that was not declared, and with [ErrOverLimit] for more layers than a track may have.
func (in *Input) Layer(track int, name string, up Upstream) (*LayerInput, error) {
	l, err := in.layerFor(track, name)
	if err != nil {
		return nil, err
	}
	li := in.newLayerInput(l, up)
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.closed {
		return nil, in.err
	}
	in.layers = append(in.layers, li)
	li.recognized.facts = in.expected[layerKey{track, name}]
	li.declared, li.splice.sets = in.sets[track], in.sets[track].clone()
	l.addInput(li)
	in.stream.kick()
	return li, nil
}

// Successor returns what writes the same layer for another SSRC, with which the sender
// goes on. Its first packet continues li's numbers, whether or not it is part of a
// keyframe; from then on li discards what it is given. Successor fails with the reason
// of an input that has ended.
func (li *LayerInput) Successor(up Upstream) (*LayerInput, error) {
	in, l := li.input, li.layer
	next := in.newLayerInput(l, up)
	next.declared = li.declared
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

func (in *Input) newLayerInput(l *Layer, up Upstream) *LayerInput {
	info, relayed := l.track.info, len(in.config.Load().Path) > 0
	if up == nil {
		up = noUpstream{}
	}
	var h *handover
	if in.config.Load().Handover {
		h = &handover{}
	}
	return &LayerInput{
		input: in, layer: l, up: up,
		numbers: numbering{line: seqnum.NewLine(lineConfig(info, relayed)), begins: true},
		clock:   trackClock{track: mediaclock.NewTrack(info.Codec.ClockRate, relayed)},
		nack:    nack.New(nack.Config{}),
		asking:  newAsking(in.stream),
		demand:  newDemand(up),
		splice:  splicer{handover: h},
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
		return nil, &Error{Op: "write", Stream: s.id, Err: fmt.Errorf("layer %q: %w", name, &LimitError{"layers", s.config.MaxLayers})}
	}
	return t.layer(name), nil
}

// A LayerInput writes one layer of an input. One goroutine at a time may write; the other
// methods may be called concurrently.
type LayerInput struct {
	input *Input
	layer *Layer
	up    Upstream
	// declared are the parameter sets in the sender's description, which its packets may lack;
	// static.
	declared parameterSets

	// guarded by layer.mu
	gone       bool // removed: what still comes is not wanted
	numbers    numbering
	nack       *nack.Generator
	requests   []uint64 // by NACK, due now
	asking     asking
	demand     demand
	clock      trackClock
	recognized recognition
	first      time.Time // when the first packet came; zero: none yet
	heard      time.Time // when something last came
	splice     splicer
	block      []byte // of header extensions, on their way into the ring; nil: none came
}

// Ext is one RTP header extension of a packet, with an id of the track's list.
type Ext struct {
	ID   uint8
	Data []byte
}

// Track returns the stream's track that is written. Its list of extensions is
// what the ids of [Ext] count in; a later input's own may be in another order.
func (li *LayerInput) Track() *Track { return li.layer.track }

// Write writes a packet that arrived at now. It copies what it keeps. After a splice it
// rewrites picture IDs in p.Payload and ext in place. ext holds the header extensions
// that are forwarded; p's own are ignored. Write drops duplicates, padding, and packets
// that a splice has passed by. It does not block, and allocates once in many packets.
//
// Where the sequence number or the timestamp jumps, the sender has begun anew, and its
// packets are spliced on as those of another input would be.
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

// Ahead reports whether the input waits for the active one and has brought newer media
// than the layer has: the active input has stopped, or is behind.
func (li *LayerInput) Ahead() bool {
	li.layer.mu.Lock()
	defer li.layer.mu.Unlock()
	return li.splice.ahead || li.layer.active == li
}

// RTT returns the round-trip time to the sender, as repairs have shown it.
func (li *LayerInput) RTT() time.Duration {
	li.layer.mu.Lock()
	defer li.layer.mu.Unlock()
	return li.nack.RTT()
}
