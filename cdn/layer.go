package cdn

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/deltacdn/delta/cdn/internal/ring"
	"github.com/deltacdn/delta/internal/rtp/codec"
)

// A Layer is one RTP encoding of a track: a simulcast RID, or the only one. It keeps the
// newest packets in a ring that every viewer and every downstream node reads. Its
// methods may be called concurrently.
type Layer struct {
	// static
	track   *Track
	name    string
	ring    *ring.Ring
	inspect codec.Inspector // nil: any frame can be joined
	picture *codec.Pictures // nil: no picture identifiers
	// temporal reads the temporal layer of a payload; nil: payloads do not tell. Where
	// clearTemporal is set, encrypted ones do, too.
	temporal      func(payload []byte) codec.Temporal
	clearTemporal bool

	clock      atomic.Pointer[layerClock]
	demand     atomic.Int64                    // how many want it
	bitrate    atomic.Uint64                   // bits of a float64: that of the last whole window
	advertised atomic.Pointer[[]advertisement] // nil: of no input
	heldBack   atomic.Bool                     // see LayerFacts.HeldBack
	costs      costs
	// parameters are the newest parameter sets, nil: none came.
	parameters atomic.Pointer[parameters]

	mu     sync.Mutex
	active *LayerInput // who writes the ring; nil: nobody now
	inputs []*LayerInput
	wanted bool // a keyframe was asked for while nobody could be asked
	out    tail
	// heldUntil is until when the active input stops at the end of a frame, since
	// another is about to go on in its place; zero: it does not.
	heldUntil time.Time
	// expected is what was last said of the layer by a node that sends it.
	expected LayerFacts
	stats    layerCounters
}

// tail is the end of what was written: a splice continues from here.
type tail struct {
	started bool
	seq     uint64 // highest
	ts      uint64 // of the newest picture
	arrival time.Time
	picture codec.Picture
	frame   uint16 // dependency descriptor frame number
	// structure of the dependency descriptors; nil: there is none
	structure *codec.Structure
	// publication that it came from, and what was added to its timestamps
	publication string
	origin      NodeID // that it came through, "" at the origin itself
	shift       uint64
}

// Name is the layer's RID, "" for a track without simulcast.
func (l *Layer) Name() string { return l.name }

// Track returns the track that the layer encodes.
func (l *Layer) Track() *Track { return l.track }

// Live returns a cursor that reads the packets that arrive from now on.
func (l *Layer) Live() Cursor { return Cursor{l.ring.Cursor(l.ring.Head())} }

// Newer returns a cursor at the newest keyframe if that is ahead of c, and c
// otherwise.
func (l *Layer) Newer(c Cursor) Cursor {
	if k := l.ring.Keyframe(); k != nil {
		if at := (Cursor{l.ring.Cursor(k.Index)}); at.Behind() < c.Behind() {
			return at
		}
	}
	return c
}

// Lookup returns the packet with extended sequence number seq, or nil if the layer does
// not have it yet or any more. It is how NACKs are answered.
func (l *Layer) Lookup(seq uint64) *Packet {
	if p := l.ring.Lookup(seq); p != nil {
		return (*Packet)(p)
	}
	for _, s := range l.knownSets() {
		if s.packet.Seq == seq {
			return s.packet
		}
	}
	return nil
}

// Newest returns the packet that arrived last, or nil if none has arrived.
func (l *Layer) Newest() *Packet { return (*Packet)(l.ring.Newest()) }

// Clock returns the mapping of the layer's timestamps to the publisher's wall clock. It
// is false until a packet has arrived.
func (l *Layer) Clock() (Clock, bool) {
	if c := l.clock.Load(); c != nil {
		return c.now(), true
	}
	return Clock{}, false
}

// RequestKeyframe asks the publisher for a keyframe. However many callers ask, the
// publisher gets at most one request in each [Config].KeyframeWindow, which is repeated
// until a keyframe arrives. A request within the window is deferred, not lost.
func (l *Layer) RequestKeyframe() {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stats.KeyframeRequests++
	if l.active == nil {
		l.wanted = true // until something comes, which may be one
		return
	}
	l.active.asking.keyframe(now)
}

// addInput makes li known to the layer.
func (l *Layer) addInput(li *LayerInput) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inputs = append(l.inputs, li)
	if needed := l.out.started && l.track.info.Kind == Video && (li.splice.handover == nil || l.active == nil); l.wanted || needed {
		li.asking.keyframe(time.Now())
		l.wanted = false
	}
	l.advertiseLocked()
	l.judgeHeldBackLocked()
}

// replaceInput has next take the place of li, which cannot write any more then.
func (l *Layer) replaceInput(li, next *LayerInput) {
	l.mu.Lock()
	defer l.mu.Unlock()
	li.gone = true
	if i := slices.Index(l.inputs, li); i >= 0 {
		l.inputs = slices.Clone(l.inputs)
		l.inputs[i] = next
	}
	if l.active == li {
		l.active, next.splice.follows = nil, true
	}
	next.splice.follows = next.splice.follows || li.splice.follows
	l.advertiseLocked()
	l.judgeHeldBackLocked()
}

// removeInput forgets li, which cannot write any more then.
func (l *Layer) removeInput(li *LayerInput) {
	l.mu.Lock()
	defer l.mu.Unlock()
	li.gone = true
	if li.splice.handover != nil {
		li.giveUpHandover()
	}
	for i, x := range l.inputs {
		if x == li {
			l.inputs = append(l.inputs[:i:i], l.inputs[i+1:]...)
			break
		}
	}
	if l.active == li {
		l.active = nil
	}
	l.advertiseLocked()
	l.judgeHeldBackLocked()
}
