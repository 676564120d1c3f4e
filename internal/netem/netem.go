// Package netem models one direction of a network path: delay, jitter, loss,
// reordering, a rate with a drop-tail queue ahead of it, and TCP-like flows that
// share the two.
//
// It is pure: time is an argument, chance comes from the caller's generator, and
// nothing runs between two calls. Equal seeds and equal calls give equal fates.
package netem

import (
	"math/rand/v2"
	"time"
)

// A Path describes one direction. The zero value is perfect: packets arrive at
// the instant they were sent.
type Path struct {
	Delay        time.Duration // of each packet
	Jitter       time.Duration // the most that is added to Delay
	JitterPeriod time.Duration // see [Path.jittered]; 0: each packet has its own jitter
	Loss         float64       // probability, 0 to 1
	Reorder      float64       // probability that a packet takes ReorderBy longer
	ReorderBy    time.Duration // if zero, 20 ms
	Rate         int           // bits a second with IP and UDP headers; 0: no limit
	Queue        time.Duration // the longest wait ahead of Rate; 0: 200 ms
	QueueBytes   int           // the most bytes that wait ahead of Rate; 0: no limit
	TCP          int           // TCP-like flows that share Rate
	TCPBytes     int           // of each transfer; 0: they never end
	TCPPause     time.Duration // the mean pause between two transfers of a flow
}

const (
	defaultQueue     = 200 * time.Millisecond
	defaultReorderBy = 20 * time.Millisecond
)

// Overhead is the size of an IPv4 and a UDP header in bytes.
const Overhead = 28

// A Fate is what becomes of a packet.
type Fate int

// The fates.
const (
	Passed    Fate = iota
	Lost           // by Path.Loss
	QueueFull      // dropped at the tail of the queue
)

// A Link is one direction of a path. It is not safe for concurrent use. Times
// that it is given must not go back.
type Link struct {
	path   Path
	rng    *rand.Rand
	free   time.Time // when the last packet so far has been put on the wire
	last   time.Time // when the last packet so far arrives, where jitter keeps the order
	jitter wander
	flows  flows
}

// NewLink returns a link whose chance comes from rng.
func NewLink(p Path, rng *rand.Rand) *Link {
	return &Link{path: p, rng: rng}
}

// SetPath changes the path for the packets that enter from now on. Those that
// wait already keep their fate.
func (l *Link) SetPath(p Path) { l.path, l.last = p, time.Time{} }

// Path returns the path as it is now.
func (l *Link) Path() Path { return l.path }

// Carry returns when a packet with size bytes of UDP payload, which enters the
// link at now, leaves it.
func (l *Link) Carry(now time.Time, size int) (time.Time, Fate) {
	if l.path.TCP > 0 || l.flows.running() {
		l.flows.advance(l, now)
	}
	if l.path.Loss > 0 && l.rng.Float64() < l.path.Loss {
		return now, Lost
	}
	out := now
	if l.path.Rate > 0 {
		var ok bool
		if out, ok = l.enqueue(now, size+Overhead); !ok {
			return now, QueueFull
		}
	}
	return l.jittered(out.Add(l.path.Delay)), Passed
}

// Wait returns how long a packet that enters at now waits until the wire is free.
func (l *Link) Wait(now time.Time) time.Duration {
	if l.path.Rate <= 0 {
		return 0
	}
	return max(0, l.free.Sub(now))
}

// enqueue returns when a packet of size bytes, which enters the queue at now, has
// been put on the wire; false: the queue is full.
func (l *Link) enqueue(now time.Time, size int) (time.Time, bool) {
	start := now
	if start.Before(l.free) {
		start = l.free
	}
	wait := start.Sub(now)
	if wait > l.path.queue() {
		return now, false
	}
	if limit := l.path.QueueBytes; limit > 0 && l.waiting(wait)+size > limit && wait > 0 {
		return now, false
	}
	l.free = start.Add(l.path.onWire(size))
	return l.free, true
}

// waiting returns how many bytes the rate puts on the wire in a time.
func (l *Link) waiting(wait time.Duration) int {
	return int(float64(l.path.Rate) / 8 * wait.Seconds())
}

// onWire returns how long the rate takes for size bytes.
func (p Path) onWire(size int) time.Duration {
	return time.Duration(size) * 8 * time.Second / time.Duration(p.Rate)
}

func (p Path) queue() time.Duration {
	if p.Queue > 0 {
		return p.Queue
	}
	return defaultQueue
}

// jittered returns when a packet arrives that would arrive at out without jitter.
//
// Without a JitterPeriod each packet draws its jitter by itself, evenly, and with
// more than the time between two packets they overtake one another. With one, the
// jitter moves in a straight line from one value to the next, which is drawn
// every JitterPeriod, and packets keep their order: so do radio links, where the
// delays of neighbors are alike. Reorder breaks the order in both cases.
func (l *Link) jittered(out time.Time) time.Time {
	switch {
	case l.path.Jitter <= 0:
	case l.path.JitterPeriod <= 0:
		out = out.Add(time.Duration(l.rng.Int64N(int64(l.path.Jitter))))
	default:
		out = out.Add(l.jitter.at(out, l.path.Jitter, l.path.JitterPeriod, l.rng))
		if out.Before(l.last) {
			out = l.last
		}
		l.last = out
	}
	if l.path.Reorder > 0 && l.rng.Float64() < l.path.Reorder {
		out = out.Add(l.path.reorderBy())
	}
	return out
}

func (p Path) reorderBy() time.Duration {
	if p.ReorderBy > 0 {
		return p.ReorderBy
	}
	return defaultReorderBy
}

// A wander is a jitter that moves in straight lines between random values.
type wander struct {
	since    time.Time
	from, to time.Duration
}

// at returns the jitter at a time, which does not go back by more than a period.
func (w *wander) at(t time.Time, most, period time.Duration, rng *rand.Rand) time.Duration {
	if t.Sub(w.since) > 2*period { // the first, or the first after a long silence
		w.since = t
		w.from, w.to = draw(most, rng), draw(most, rng)
	}
	for t.Sub(w.since) >= period {
		w.since = w.since.Add(period)
		w.from, w.to = w.to, draw(most, rng)
	}
	part := max(0, float64(t.Sub(w.since))/float64(period))
	return w.from + time.Duration(part*float64(w.to-w.from))
}

func draw(most time.Duration, rng *rand.Rand) time.Duration {
	return time.Duration(rng.Int64N(int64(most)))
}
