package cdn

import (
	"slices"
	"time"

	"github.com/pion/rtp"
)

// Arrivals are packets that were read together. They are written at once, and
// those who receive their streams are woken once, at the end: so what was read
// together leaves together. It is not safe for concurrent use; that of a node
// ([Transport]) is for the port's one reader, which flushes it. By a nil one packets
// are written by themselves.
type Arrivals struct{ streams []*Stream }

// Write is [LayerInput.Write], but for waking: Flush does that.
func (a *Arrivals) Write(li *LayerInput, now time.Time, p *rtp.Packet, ext []Ext) {
	if a == nil {
		li.Write(now, p, ext)
		return
	}
	if s := li.layer.track.stream; li.write(now, p, ext) && !slices.Contains(a.streams, s) {
		a.streams = append(a.streams, s)
	}
}

// Flush wakes those who receive what was written.
func (a *Arrivals) Flush() {
	for i, s := range a.streams {
		s.feed.Wake()
		a.streams[i] = nil
	}
	a.streams = a.streams[:0]
}
