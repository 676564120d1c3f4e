// Package mediaclock maps the timestamps of RTP streams to their publisher's wall
// clock: by its sender reports (RFC 3550 section 6.4.1) where they can be true, and
// by when packets arrive otherwise. It is pure: time is passed in. Nothing in it
// allocates, or is safe for concurrent use.
package mediaclock

import "time"

const (
	// window is how long arrivals are gathered for the least delay among them.
	window = 2 * time.Second
	// maxSlope is by how much clocks are taken to differ, at most.
	maxSlope = 0.002
	// queueing is the delay above which the estimate follows faster, by queueStep a
	// window. It is a queue on the way, and all tracks are in it: so little that they
	// stay together meanwhile.
	queueing  = 100 * time.Millisecond
	queueStep = 40 * time.Millisecond
	// broken is the delay that is no queue, after a pause as long: the publisher's
	// timestamps have stood still while it was muted. Without a pause it takes more.
	broken     = time.Second
	mostQueued = 10 * time.Second
	// step is by how much the estimate has to move for that to be told.
	step = time.Millisecond
)

// An Arrival estimates when the media of a timestamp arrives if nothing holds it
// up on the way. It follows the least delay of packets: at once where they come
// earlier than was taken to be possible, and slowly where they come later, since
// jitter and queues only add to the delay. So it follows the drift between the
// publisher's media clock and this node's clock, and no jitter.
type Arrival struct {
	rate    int64
	started bool
	rtp     uint64 // timestamp rtp arrives at at
	at      time.Time
	began   time.Time     // of the window
	least   time.Duration // delay in the window
	seen    bool          // there was a packet in it
	last    time.Time
	moved   time.Duration // since that was told
}

// NewArrival returns an estimate for a stream with so many timestamp units a
// second.
func NewArrival(rate uint32) Arrival { return Arrival{rate: int64(max(rate, 1))} }

// Observe notes that the first packet of a frame with extended timestamp rtp came
// at now. It reports whether the estimate has moved by a millisecond or more since
// it last did so.
func (a *Arrival) Observe(now time.Time, rtp uint64) (moved bool) {
	if !a.started {
		a.started = true
		a.anchor(now, rtp)
		return true
	}
	late := now.Sub(a.At(rtp))
	paused := now.Sub(a.last) > broken
	a.last = now
	switch {
	case late > broken && paused:
		a.anchor(now, rtp)
		return true
	case late < 0:
		a.at = now
		a.rtp = rtp
		a.moved += late
		late = 0
	}
	if !a.seen || late < a.least {
		a.least, a.seen = late, true
	}
	if now.Sub(a.began) >= window {
		a.follow(now, rtp)
	}
	if a.moved.Abs() < step {
		return false
	}
	a.moved = 0
	return true
}

// follow ends a window.
func (a *Arrival) follow(now time.Time, rtp uint64) {
	rise := a.least
	switch {
	case a.least > mostQueued:
	case a.least > queueing:
		rise = queueStep
	default:
		rise = min(a.least, time.Duration(maxSlope*float64(now.Sub(a.began))))
	}
	a.at, a.rtp = a.At(rtp).Add(rise), rtp
	a.moved += rise
	a.began, a.seen = now, false
}

func (a *Arrival) anchor(now time.Time, rtp uint64) {
	a.rtp, a.at, a.began, a.last, a.seen, a.moved = rtp, now, now, now, false, 0
}

// Started reports whether anything has come.
func (a *Arrival) Started() bool { return a.started }

// Point returns a point of the line: rtp arrives at at.
func (a *Arrival) Point() (rtp uint64, at time.Time) { return a.rtp, a.at }

// At returns when media of an extended timestamp arrives, or did.
func (a *Arrival) At(rtp uint64) time.Time { return a.at.Add(duration(int64(rtp-a.rtp), a.rate)) }

// duration returns how long so many ticks take, exactly but for a nanosecond.
func duration(ticks, rate int64) time.Duration {
	return time.Duration(ticks/rate)*time.Second + time.Duration(ticks%rate*int64(time.Second)/rate)
}
