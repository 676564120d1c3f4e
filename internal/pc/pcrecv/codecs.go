package pcrecv

import (
	"slices"
	"sync"
	"time"

	"github.com/deltacdn/delta/internal/receive"
	"github.com/deltacdn/delta/internal/sdp"
)

// codecsWithin is how long after the first packet the codecs of the other tracks are
// waited for. Then they are what the answer names first.
const codecsWithin = time.Second

// answeredCodecs is how the codecs of an answer become known: it may name several for a
// track, of which the server sends one.
type answeredCodecs struct {
	arriving chan struct{} // closed when the first packet is there
	known    chan struct{} // closed when each track's codec is known
	started  chan struct{} // closed when the input was started

	mu    sync.Mutex
	plan  *receive.Plan // changed until final
	left  map[int]bool  // tracks whose codec is not known
	any   bool          // arriving is closed
	final bool
}

func newAnsweredCodecs(p *receive.Plan) *answeredCodecs {
	c := &answeredCodecs{
		plan: p, left: make(map[int]bool),
		arriving: make(chan struct{}), known: make(chan struct{}), started: make(chan struct{}),
	}
	for i, choice := range p.Choices {
		if len(choice.Media.Codecs) > 1 {
			c.left[i] = true
		}
	}
	if len(c.left) == 0 {
		close(c.known)
	}
	return c
}

// arrived notes that a packet of a payload type has come by the m-section of a mid, and
// returns the index of its track, -1 if there is none.
func (c *answeredCodecs) arrived(mid string, pt uint8) (track int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	track = c.plan.Track(mid)
	if c.final || track < 0 {
		return track
	}
	if !c.any {
		c.any = true
		close(c.arriving)
	}
	choice := &c.plan.Choices[track]
	i := slices.IndexFunc(choice.Media.Codecs, func(codec sdp.Codec) bool { return codec.PT == pt })
	if i < 0 || !c.left[track] {
		return track
	}
	choice.Codec = choice.Media.Codecs[i]
	c.plan.Tracks[track].Codec = choice.Codec.Codec
	if delete(c.left, track); len(c.left) == 0 {
		close(c.known)
	}
	return track
}

// finish keeps the plan as it is.
func (c *answeredCodecs) finish() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.final = true
}
