package cdn

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// ReaderConfig says what a [TrackReader] reads. The zero value reads the best layer
// from now on.
type ReaderConfig struct {
	// Layer names the simulcast layer. If empty, the one that has the highest bitrate
	// when the reader is made. A reader stays with its layer.
	Layer string
	// Keyframe: the reader begins with the newest keyframe that the node has, and reads
	// all that has come since, or else with the next keyframe, which is asked for.
	// Otherwise it begins with what comes next. It makes no difference for sound.
	Keyframe bool
	// Wait is how long a packet that is missing is waited for before it counts as
	// lost; the node asks for it again meanwhile. If zero, 500 ms; if negative, it is
	// not waited for.
	Wait time.Duration
}

// A TrackReader reads a track in this process: packets in order, or whole frames. It
// works at any node that has the stream, published here or fetched from elsewhere
// ([Source].Open), and counts as one who wants the layer.
//
// It reads from what the node keeps of the layer, and so it holds nothing up and keeps
// next to nothing itself: a reader that is slower than the stream loses packets, which
// Lost counts. One goroutine at a time may read; Close may be called by any. A
// TrackReader has no goroutine.
type TrackReader struct {
	// static
	layer    *Layer
	keyframe bool // to begin with
	wait     time.Duration
	more     ready
	closed   chan struct{}
	close    func()

	// owned by the goroutine that reads
	begun   bool
	ended   bool      // the stream has ended: nothing is missing that could still come
	next    uint64    // number of the packet to be read next
	highest uint64    // highest number that has arrived
	since   uint64    // place in the order of arrival ahead of which the next packet has not arrived
	arrived Cursor    // reads what arrives, in order of arrival
	missing time.Time // when a packet beyond the next one arrived; zero: the next one is not missing
	lost    uint64
	frames  frameReader
}

// Reader returns a reader of the track. The caller must close it. It fails with
// [ErrNotFound] for a layer that the track does not have.
func (t *Track) Reader(c ReaderConfig) (*TrackReader, error) {
	l := t.layerToRead(c.Layer)
	if l == nil {
		return nil, &Error{Op: "read", Stream: t.stream.id, Err: fmt.Errorf("%w: no layer %.40q", ErrNotFound, c.Layer)}
	}
	if c.Wait == 0 {
		c.Wait = 500 * time.Millisecond
	}
	r := &TrackReader{
		layer: l, wait: max(c.Wait, 0), more: make(ready, 1), closed: make(chan struct{}),
		keyframe: c.Keyframe && t.info.Kind == Video, arrived: l.Live(),
	}
	r.frames.init(t.info)
	release := l.Demand()
	detach := t.stream.Attach(r.more)
	r.close = sync.OnceFunc(func() {
		close(r.closed)
		detach()
		release()
	})
	if r.keyframe {
		r.beginWithNewest()
	}
	return r, nil
}

func (t *Track) layerToRead(name string) (best *Layer) {
	if name != "" {
		return t.Layer(name)
	}
	for _, l := range t.Layers() { // the best one is the last, where nothing is measured
		if best == nil || l.Bitrate() >= best.Bitrate() {
			best = l
		}
	}
	return best
}

// beginWithNewest begins with the newest keyframe, or asks for one.
func (r *TrackReader) beginWithNewest() {
	k := r.layer.ring.Keyframe()
	if k == nil {
		r.layer.RequestKeyframe()
		return
	}
	r.beginAt((*Packet)(k))
	r.arrived = Cursor{r.layer.ring.Cursor(k.Index)}
}

// beginAt begins with the frame of p, whose first packets may be ahead of p.
func (r *TrackReader) beginAt(p *Packet) {
	r.begun, r.next, r.highest = true, p.Seq, p.Seq
	if !r.keyframe {
		return
	}
	for q := r.layer.ring.Lookup(r.next - 1); q != nil && q.Timestamp == p.Timestamp; q = r.layer.ring.Lookup(r.next - 1) {
		r.next = q.Seq
	}
}

// Layer returns the layer that is read.
func (r *TrackReader) Layer() *Layer { return r.layer }

// Lost returns how many packets the reader has missed: they did not come in time, or
// were gone before it came to them.
func (r *TrackReader) Lost() uint64 { return r.lost }

// Close ends the reading: a call that waits fails with [ErrClosed]. It is idempotent.
func (r *TrackReader) Close() error {
	r.close()
	return nil
}

// ReadPacket returns the next packet in the order of its number, and waits for it. The
// packet is shared with other readers: it must not be changed, and not be kept beyond
// the next call. A gap between the numbers of two packets is what was lost.
//
// It fails with ctx's error, with [ErrClosed] after Close, and, once all has been read,
// with the reason for which the stream ended, which wraps [ErrEnded] if its publisher
// ended it. A reader does not end while a stream is without a publisher.
func (r *TrackReader) ReadPacket(ctx context.Context) (*Packet, error) {
	for {
		if err := r.open(); err != nil {
			return nil, err
		}
		p, wait := r.take(time.Now())
		if p != nil {
			return p, nil
		}
		if err := r.await(ctx, wait); err != nil {
			return nil, err
		}
	}
}

// open returns an error after Close.
func (r *TrackReader) open() error {
	select {
	case <-r.closed:
		return &Error{Op: "read", Stream: r.layer.track.stream.id, Err: ErrClosed}
	default:
		return nil
	}
}

// take returns the next packet if it is here or, if it is missing, the one after the
// loss. wait is how long to wait for a missing one; 0: until something comes.
func (r *TrackReader) take(now time.Time) (p *Packet, wait time.Duration) {
	head := r.layer.ring.Head()
	r.look()
	if !r.begun {
		return nil, 0
	}
	if r.next > r.highest {
		r.since = head
		return nil, 0
	}
	if p = (*Packet)(r.layer.ring.Lookup(r.next)); p == nil {
		if wait = r.missed(now); wait > 0 {
			return nil, wait
		}
		if p = r.skip(); p == nil {
			return nil, 0
		}
	}
	r.next, r.missing = p.Seq+1, time.Time{}
	return p, 0
}

// missed returns for how long the next packet is still waited for.
func (r *TrackReader) missed(now time.Time) time.Duration {
	if r.ended {
		return 0
	}
	if r.missing.IsZero() {
		after, lapped := r.after()
		if after == nil || lapped {
			return 0
		}
		r.missing = after.Arrival
	}
	return r.missing.Add(r.wait).Sub(now)
}

// skip returns the packet that is next without what is missing, nil if there is none.
func (r *TrackReader) skip() *Packet {
	after, _ := r.after()
	if after != nil {
		r.lost += after.Seq - r.next
	}
	return after
}

// look notes what has come.
func (r *TrackReader) look() {
	for p := r.arrived.Next(); p != nil; p = r.arrived.Next() {
		switch {
		case r.begun:
			r.highest = max(r.highest, p.Seq)
		case p.Keyframe || !r.keyframe:
			r.beginAt(p)
		}
	}
}

// after returns the packet with the lowest number of those beyond the missing one.
// lapped: the missing one may have arrived, and the node does not keep it any more.
func (r *TrackReader) after() (low *Packet, lapped bool) {
	older, first := false, r.layer.ring.Head()
	all := r.layer.ring.Cursor(0) // which goes on with the oldest
	for p := all.Next(); p != nil; p = all.Next() {
		switch {
		case p.Seq < r.next:
			older = true
		case low == nil || p.Seq < low.Seq:
			low = (*Packet)(p)
		}
		first = min(first, p.Index)
	}
	return low, !older && first > r.since
}

// await waits until there may be something to read.
func (r *TrackReader) await(ctx context.Context, wait time.Duration) error {
	s := r.layer.track.stream
	if r.ended {
		return s.Err()
	}
	var due <-chan time.Time
	if wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		due = timer.C
	}
	select {
	case <-r.more:
	case <-due:
	case <-s.done:
		r.ended = true
	case <-ctx.Done():
		return ctx.Err()
	case <-r.closed:
	}
	return nil
}
