package cdntest

import (
	"math/rand/v2"
	"time"
)

// A Path says what becomes of packets on their way. The zero value is perfect:
// they arrive at the instant they were sent.
type Path struct {
	// Delay is how long each packet travels, one way.
	Delay time.Duration
	// Jitter is the most that is added to Delay, at random and evenly, for
	// each packet by itself: with more than the time between two packets, they
	// overtake one another.
	Jitter time.Duration
	// Loss is the probability with which a packet is lost, 0 to 1.
	Loss float64
	// Rate is what the path carries, in bits a second with IP and UDP headers.
	// If zero, there is no limit.
	Rate int
	// Queue is the longest that a packet waits for those before it where Rate
	// limits; one that would wait longer is dropped. If zero, 200 ms.
	Queue time.Duration
}

const defaultQueue = 200 * time.Millisecond

// udpOverhead is the size of an IPv4 and a UDP header.
const udpOverhead = 28

// A fate is what becomes of a packet.
type fate int

const (
	passed fate = iota
	lost        // by Path.Loss
	queueFull
)

// A link is one direction of a path.
type link struct {
	path Path
	rng  *rand.Rand
	free time.Time // when the last packet so far has been put on the wire
}

// carry returns when a packet with size bytes of payload, which enters the link
// at now, leaves it.
func (l *link) carry(now time.Time, size int) (time.Time, fate) {
	if l.path.Loss > 0 && l.rng.Float64() < l.path.Loss {
		return now, lost
	}
	out := now
	if l.path.Rate > 0 {
		if out.Before(l.free) {
			out = l.free
		}
		if out.Sub(now) > l.path.queue() {
			return now, queueFull
		}
		bits := time.Duration(size+udpOverhead) * 8
		out = out.Add(bits * time.Second / time.Duration(l.path.Rate))
		l.free = out
	}
	out = out.Add(l.path.Delay)
	if l.path.Jitter > 0 {
		out = out.Add(time.Duration(l.rng.Int64N(int64(l.path.Jitter))))
	}
	return out, passed
}

func (p Path) queue() time.Duration {
	if p.Queue > 0 {
		return p.Queue
	}
	return defaultQueue
}
