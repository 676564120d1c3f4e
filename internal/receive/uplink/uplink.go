// Package uplink judges, at the receiver, whether the path from a sender carries what
// the sender has to send. A path that does not shows it in three ways: packets are
// lost, a queue stands in it, or the sender, which knows as much from its feedback,
// leaves out layers.
//
// It is pure: time is an argument, and there is no clock, lock or goroutine.
package uplink

import (
	"slices"
	"time"
)

const (
	// A look is bad if so large a part of the packets was lost, or the queue stood for
	// so long. What random loss and jitter make is below that.
	badLoss  = 0.1
	badQueue = 80 * time.Millisecond
	// Fewer packets than leastExpected in two looks say nothing about loss.
	leastExpected = 40
	// The path is narrow if badLooks of the last recentLooks were bad: the sender adapts
	// within a second or two, and the evidence goes.
	badLooks, recentLooks = 2, 3
	// A layer is missing that has stopped for stoppedFor while a lower one of its track
	// goes on. One that was never sent is not: the publisher may not want to send it.
	stoppedFor = 1500 * time.Millisecond // two looks
	// The path has recovered after recoversAfter without evidence if what comes is at least
	// recovered of what came ahead of the trouble, and otherwise after recoversAnyway: what
	// the sender has to send may have become less.
	recoversAfter  = 10 * time.Second
	recoversAnyway = time.Minute
	recovered      = 0.75
	// remembered is the number of looks ahead of the trouble that say what came.
	remembered = 8
)

// A Layer is what came of one layer since the last look.
type Layer struct {
	Track int    // which of the sender's tracks it is of
	Name  string // "" if it is the track's only one
	Bytes int    // of payload
	// Expected is how many packets the sender sent, by their sequence numbers, and
	// Received how many of them came the first time that they were sent.
	Expected, Received int
	// Queue is how much longer the quickest of them was on its way than the quickest of
	// the last minute: see [Delay]. It is negative if that is not known.
	Queue time.Duration
	// Ended: the sender has said that it does not send the layer any more.
	Ended bool
}

// A State is what a Detector has found out about a publisher's path.
type State struct {
	Narrow  bool          // it carries less than the publisher sends
	Since   time.Time     // when it became narrow, or ceased to be; zero: it never was
	Bitrate float64       // payload bits a second that came between the last two looks
	Before  float64       // the same before it became narrow; 0: not known, or it is not
	Loss    float64       // the part of packets lost since the look before the last, 0 to 1, ahead of repair
	Queue   time.Duration // that stood
	Missing []string      // layers that have stopped, while lower ones of their track go on
}

// A Detector judges the path of one sender. The zero value is ready to use. It is not
// safe for concurrent use.
type Detector struct {
	state  State
	last   time.Time
	bad    [recentLooks]bool // of the last looks, the newest first
	clear  time.Time         // since when there was no evidence
	before loss              // between the last two looks
	rates  [remembered]float64
	layers []history
}

// A loss counts packets that were sent, and those of them that came. What is on its way at
// a look is counted as lost until the next one, so that two are looked at together.
type loss struct{ expected, received int }

func (l loss) part(o loss) float64 {
	expected, received := l.expected+o.expected, l.received+o.received
	if expected < leastExpected || received >= expected {
		return 0
	}
	return float64(expected-received) / float64(expected)
}

// A history is what is known of one layer since its track was last silent.
type history struct {
	last  time.Time  // when something came; zero: nothing has
	rates [2]float64 // bits a second, when it last came: in the very last look it may have stopped
}

func (h *history) rate() float64 { return max(h.rates[0], h.rates[1]) }

// Look judges what came since the last look, which should be a second ago. It is given
// the same layers in the same order each time. It returns whether the path has become
// narrow, or has recovered, by this look.
func (d *Detector) Look(now time.Time, layers []Layer) (changed bool) {
	passed := now.Sub(d.last)
	first := d.last.IsZero()
	d.last = now
	if first || passed <= 0 {
		return false
	}
	d.state.Missing = d.missing(now, layers, passed)
	if !d.measure(layers, passed) { // silence says nothing
		d.bad, d.before = [recentLooks]bool{}, loss{}
		return false
	}
	// Loss is that of two looks. One bad second is not two bad looks.
	present := d.before
	lossy := d.state.Loss >= badLoss && (present.expected < leastExpected || present.part(loss{}) >= badLoss)
	bad := lossy || d.state.Queue >= badQueue
	copy(d.bad[1:], d.bad[:])
	d.bad[0] = bad
	switch evidence := bad || len(d.state.Missing) > 0; {
	case evidence:
		d.clear = time.Time{}
	case d.clear.IsZero():
		d.clear = now
	}
	switch {
	case d.state.Narrow && d.hasRecovered(now):
		d.state.Narrow, d.state.Since, d.state.Before = false, now, 0
		return true
	case !d.state.Narrow && d.isNarrow():
		d.state.Narrow, d.state.Since, d.state.Before = true, now, slices.Max(d.rates[:])
		return true
	case !d.state.Narrow && !bad:
		copy(d.rates[1:], d.rates[:])
		d.rates[0] = d.state.Bitrate
	}
	return false
}

// State returns what the last look has shown. The caller must not change its slice, which
// is made anew at each look.
func (d *Detector) State() State { return d.state }

// measure sums up what came, and reports whether that is anything.
func (d *Detector) measure(layers []Layer, passed time.Duration) (any bool) {
	var now loss
	bytes := 0
	queue, known := time.Duration(0), false
	for _, l := range layers {
		now.expected += l.Expected
		now.received += l.Received
		bytes += l.Bytes
		// A queue in the path is in the way of all layers. What holds up one of them is
		// its encoder.
		if l.Queue >= 0 && (!known || l.Queue < queue) {
			queue, known = l.Queue, true
		}
	}
	d.state.Bitrate = float64(bytes) * 8 / passed.Seconds()
	d.state.Queue = queue
	d.state.Loss, d.before = now.part(d.before), now
	return bytes > 0
}

// missing notes which layers came, and returns the names of those that have stopped.
func (d *Detector) missing(now time.Time, layers []Layer, passed time.Duration) (names []string) {
	for len(d.layers) < len(layers) {
		d.layers = append(d.layers, history{})
	}
	for i, l := range layers {
		h := &d.layers[i]
		switch {
		case l.Bytes > 0:
			h.last, h.rates = now, [2]float64{float64(l.Bytes) * 8 / passed.Seconds(), h.rates[0]}
		case isSilent(layers, l.Track):
			// The publisher has paused the track. When it resumes, browsers begin with the
			// low layers: a layer that was sent ahead of the pause is not missing.
			*h = history{}
		}
	}
	for i, l := range layers {
		if l.Bytes == 0 && !l.Ended && d.isMissing(now, layers, i) {
			names = append(names, l.Name)
		}
	}
	return names
}

// isSilent reports whether nothing came of any layer of a track.
func isSilent(layers []Layer, track int) bool {
	return !slices.ContainsFunc(layers, func(l Layer) bool { return l.Track == track && l.Bytes > 0 })
}

// isMissing reports whether layer i, of which nothing came, has stopped while a lower one of
// its track goes on.
func (d *Detector) isMissing(now time.Time, layers []Layer, i int) bool {
	h := d.layers[i]
	if h.last.IsZero() || now.Sub(h.last) < stoppedFor {
		return false
	}
	for j, other := range layers {
		if i != j && other.Track == layers[i].Track && other.Bytes > 0 && h.rate() > d.layers[j].rate() {
			return true
		}
	}
	return false
}

func (d *Detector) isNarrow() bool {
	n := 0
	for _, bad := range d.bad {
		if bad {
			n++
		}
	}
	return n >= badLooks || len(d.state.Missing) > 0
}

func (d *Detector) hasRecovered(now time.Time) bool {
	if d.clear.IsZero() {
		return false
	}
	long := now.Sub(d.clear)
	return long >= recoversAnyway || long >= recoversAfter && d.state.Bitrate >= recovered*d.state.Before
}
