// Package ring holds the packets of one layer: an append log in order of
// arrival with an index by sequence number, bounded in packets, bytes and
// time. One goroutine at a time appends; any number read, without locks.
package ring

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// A Packet is one RTP packet as stored. It is shared by all readers and
// immutable after [Ring.Append]; a reader must not keep it beyond the loop
// that read it, which leaves the ring free to manage memory as it likes.
type Packet struct {
	Index     uint64    // place in order of arrival
	Seq       uint64    // extended sequence number, without gaps
	Timestamp uint64    // extended RTP timestamp
	Arrival   time.Time // when it came to this node
	Marker    bool
	// Keyframe: the first packet of a frame at which a decoder can begin.
	Keyframe bool
	// FrameStart: the first packet of a frame.
	FrameStart bool
	// The place of the picture among the temporal layers.
	TemporalLayer  uint8
	LayerSync      bool
	SwitchingPoint bool
	// Extensions is a run of (id, length, data…), ids as in the track's list.
	Extensions []byte
	Payload    []byte
}

// Size is how many bytes of a ring's bound the packet takes.
func (p *Packet) Size() int { return len(p.Extensions) + len(p.Payload) }

// Config bounds a ring.
type Config struct {
	Packets int           // rounded up to a power of two; if zero, 4096
	Bytes   int           // if zero, 8 MiB
	Age     time.Duration // if zero, 4 s
	// GOP is for how long the newest keyframe and all that followed stay,
	// though they be older than Age. If zero, 12 s.
	GOP time.Duration
}

func (c Config) withDefaults() Config {
	if c.Packets <= 0 {
		c.Packets = 4096
	}
	c.Packets = 1 << bits.Len(uint(c.Packets-1))
	if c.Bytes <= 0 {
		c.Bytes = 8 << 20
	}
	if c.Age <= 0 {
		c.Age = 4 * time.Second
	}
	if c.GOP <= 0 {
		c.GOP = 12 * time.Second
	}
	return c
}

// A Ring is the one copy of a layer's packets at a node.
type Ring struct {
	// static after New
	config Config
	mask   uint64
	log    []atomic.Pointer[Packet]
	bySeq  []atomic.Pointer[Packet]

	// written by the appender, read by all. What lies in [tail, head) is there.
	head     atomic.Uint64
	tail     atomic.Uint64
	keyframe atomic.Uint64 // 1 + index of the newest keyframe; 0: none yet
	gop      atomic.Int64  // bytes since it came
	snapshot atomic.Pointer[snapshot]

	// owned by the appender
	bytes int
	arena arena
	began time.Time // when the newest keyframe came
	shown uint64    // its timestamp
}

// New returns an empty ring.
func New(c Config) *Ring {
	c = c.withDefaults()
	return &Ring{
		config: c,
		mask:   uint64(c.Packets - 1),
		log:    make([]atomic.Pointer[Packet], c.Packets),
		bySeq:  make([]atomic.Pointer[Packet], c.Packets),
	}
}

// Append stores a copy of p, whose Index it sets, and returns the copy. It
// allocates once in many packets.
func (r *Ring) Append(p Packet) *Packet {
	head := r.head.Load()
	p.Index = head
	q := r.arena.store(p)
	r.bytes += q.Size()
	r.trim(head, p.Arrival)
	r.log[head&r.mask].Store(q)
	r.bySeq[q.Seq&r.mask].Store(q)
	if q.Keyframe {
		r.keyframe.Store(head + 1)
		r.gop.Store(0)
		r.began, r.shown = q.Arrival, q.Timestamp
	}
	r.gop.Store(r.gop.Load() + int64(q.Size()))
	r.head.Store(head + 1)
	return q
}

// trim drops the oldest packets until one more fits. The tail moves before a
// slot is emptied, so a reader that finds the slot empty finds the new tail.
func (r *Ring) trim(head uint64, now time.Time) {
	tail := r.tail.Load()
	// A GOP of which the beginning is gone is of no use as one.
	begin, held := r.keyframe.Load(), now.Sub(r.began) <= r.config.GOP
	for ; tail < head; tail++ {
		old := r.log[tail&r.mask].Load()
		full := head-tail >= uint64(len(r.log)) || r.bytes > r.config.Bytes
		held = held && tail < begin
		if !full && (held && tail+1 == begin || now.Sub(old.Arrival) <= r.config.Age) {
			return
		}
		if begin != 0 && old.Timestamp == r.shown {
			r.keep(begin)
		}
		r.tail.Store(tail + 1)
		r.log[tail&r.mask].Store(nil)
		r.bySeq[old.Seq&r.mask].CompareAndSwap(old, nil)
		r.bytes -= old.Size()
	}
}

// Head returns the index that the next packet will get.
func (r *Ring) Head() uint64 { return r.head.Load() }

// Lookup returns the packet with extended sequence number seq, or nil if it is
// not here: not yet, or not any more. Those of [Ring.Snapshot] are.
func (r *Ring) Lookup(seq uint64) *Packet {
	if p := r.bySeq[seq&r.mask].Load(); p != nil && p.Seq == seq {
		return p
	}
	if s := r.snapshot.Load(); s != nil && len(s.packets) > 0 {
		// They are in order, without gaps.
		if i := seq - s.packets[0].Seq; i < uint64(len(s.packets)) {
			return s.packets[i]
		}
	}
	return nil
}

// Newest returns the newest packet, or nil.
func (r *Ring) Newest() *Packet {
	for {
		head := r.head.Load()
		if head == 0 {
			return nil
		}
		if p := r.log[(head-1)&r.mask].Load(); p != nil && p.Index == head-1 {
			return p
		}
	}
}

// Keyframe returns the first packet of the newest keyframe, or nil if none is
// here any more.
func (r *Ring) Keyframe() *Packet {
	at := r.keyframe.Load()
	if at == 0 {
		return nil
	}
	if p := r.log[(at-1)&r.mask].Load(); p != nil && p.Index == at-1 {
		return p
	}
	return nil
}

// Cursor returns a cursor that reads from index on.
func (r *Ring) Cursor(index uint64) Cursor { return Cursor{ring: r, next: index} }
