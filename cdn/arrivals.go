package cdn

import (
	"sync"
	"time"

	"github.com/pion/rtp"
)

// gatherFor is how long receivers are not woken for a frame of which more packets
// are about to come.
const gatherFor = time.Millisecond

// Arrivals are packets that were read together. They are written at once. Receivers of
// their streams are woken once, at the end. Where there are many, they are woken when a
// frame is complete, or at most a millisecond after the first Flush. So what came together
// leaves together. One goroutine at a time uses it; that of a node ([Node.Arrivals]) is for
// the port's one reader, which flushes it. By a nil one packets are written by themselves.
type Arrivals struct {
	mu      sync.Mutex
	streams []arrival
	timer   *time.Timer // that wakes for incomplete frames; nil: none has been
	armed   bool
}

// Arrivals returns the node's own, which the reader of its port flushes whenever it has
// read what there was. Nobody else may use it.
func (n *Node) Arrivals() *Arrivals { return &n.transport.arrivals }

// An arrival is what has come of one stream and nobody was woken for.
type arrival struct {
	stream *Stream
	since  time.Time
	whole  bool // a frame is complete, as far as can be seen, or there is sound
}

// Write is [LayerInput.Write], but for waking: Flush does that.
func (a *Arrivals) Write(li *LayerInput, now time.Time, p *rtp.Packet, ext []Ext) {
	if a == nil {
		li.Write(now, p, ext)
		return
	}
	if !li.write(now, p, ext) {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	track := li.layer.track
	for i := range a.streams {
		if one := &a.streams[i]; one.stream == track.stream {
			one.whole = one.whole || p.Marker || track.info.Kind == Audio
			return
		}
	}
	a.streams = append(a.streams, arrival{stream: track.stream, whole: p.Marker || track.info.Kind == Audio})
}

// Flush wakes those who receive what was written.
func (a *Arrivals) Flush() {
	a.mu.Lock()
	defer a.mu.Unlock()
	var now time.Time
	rest := a.streams[:0]
	for _, one := range a.streams {
		if !one.whole && !one.stream.feed.Direct() {
			if now.IsZero() {
				now = time.Now()
			}
			if one.since.IsZero() { // what was read has waited already, and is not late for that
				one.since = now
			}
			if now.Sub(one.since) < gatherFor {
				rest = append(rest, one)
				continue
			}
		}
		one.stream.feed.Wake()
	}
	clear(a.streams[len(rest):])
	a.streams = rest
	switch {
	case len(rest) == 0 || a.armed:
	case a.timer == nil:
		a.timer, a.armed = time.AfterFunc(gatherFor, a.late), true
	default:
		a.timer.Reset(gatherFor)
		a.armed = true
	}
}

// late wakes for frames that are not complete in time.
func (a *Arrivals) late() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.armed = false
	for i, one := range a.streams {
		one.stream.feed.Wake()
		a.streams[i] = arrival{}
	}
	a.streams = a.streams[:0]
}
