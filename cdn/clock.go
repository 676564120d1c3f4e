package cdn

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/deltacdn/delta/cdn/internal/mediaclock"
	"github.com/deltacdn/delta/internal/rtp/seqnum"
)

// A Clock is a point on the line that maps a layer's RTP timestamps to the
// publisher's wall clock, as its sender reports give it (RFC 3550 section
// 6.4.1), or arrivals where it has sent none. It travels through the CDN unchanged, so that audio and video stay
// in sync however many nodes they pass.
type Clock struct {
	NTP time.Time // publisher's wall clock
	RTP uint64    // the layer's extended timestamp at that instant
	// Received is when this node learned of it, by its own clock.
	Received time.Time
	Rate     uint32 // RTP timestamp units a second
	// Estimated: the line follows arrivals at a node, since the publisher has sent
	// no report for the layer that can be true. NTP is the publisher's wall clock
	// all the same if another track had one, and the node's otherwise.
	Estimated bool
}

// At returns the point of the line that a sender report sent at now should
// carry. It moves by whole timestamp units, so nothing is lost to rounding
// from node to node.
func (c Clock) At(now time.Time) (ntp time.Time, rtp uint64) {
	ticks := int64(float64(now.Sub(c.Received)) * float64(c.Rate) / float64(time.Second))
	return c.NTP.Add(c.duration(ticks)), c.RTP + uint64(ticks)
}

// Time returns the publisher's wall clock at extended timestamp rtp.
func (c Clock) Time(rtp uint64) time.Time {
	return c.NTP.Add(c.duration(int64(rtp - c.RTP)))
}

func (c Clock) duration(ticks int64) time.Duration {
	rate := int64(c.Rate)
	return time.Duration(ticks/rate)*time.Second + time.Duration(ticks%rate*int64(time.Second)/rate)
}

// A publisherClock is the wall clock of an input's publisher, which all its
// tracks share. Its mutex is taken below a layer's.
type publisherClock struct {
	mu   sync.Mutex
	wall mediaclock.Wall
	// Copies of the wall's fields, for readers.
	offset, set atomic.Int64
}

// report has a track take a sender report, and returns whether it is accepted.
func (c *publisherClock) report(t *mediaclock.Track, now, ntp time.Time, rtp uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	accepted := t.Report(&c.wall, now, ntp, rtp)
	c.publishLocked()
	return accepted
}

// restart has a track forget its timestamps. Others look at what it leads by.
func (c *publisherClock) restart(t *mediaclock.Track) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t.Restart()
}

// begin sets by how much the wall clock is ahead of this node's, as long as no
// report says so.
func (c *publisherClock) begin(offset time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.wall.Begin(offset) {
		c.publishLocked()
	}
}

func (c *publisherClock) publishLocked() {
	c.offset.Store(int64(c.wall.Offset))
	c.set.Store(int64(c.wall.Set))
}

// A trackClock is an input's clock of a layer: how the layer's timestamps go with the
// publisher's wall clock.
type trackClock struct {
	track mediaclock.Track
	early *report // that came ahead of any packet
}

// A layerClock is a layer's clock, short of what changes for all tracks of a
// publisher at once.
type layerClock struct {
	Clock

	publisher *publisherClock
	byArrival bool
	set       time.Duration // of the wall, when the report came
}

// now returns the clock as it is.
func (c *layerClock) now() Clock {
	clock := c.Clock
	if c.byArrival {
		clock.NTP = clock.NTP.Add(time.Duration(c.publisher.offset.Load()))
	} else {
		clock.NTP = clock.NTP.Add(time.Duration(c.publisher.set.Load()) - c.set)
	}
	return clock
}

// clockAt returns the input's clock of the layer, by its own timestamps. It is
// false until something has come. The layer's mu is held.
func (li *LayerInput) clockAt(now time.Time) (layerClock, bool) {
	r, ok := li.clock.track.Read(now)
	if !ok {
		return layerClock{}, false
	}
	return layerClock{
		Clock: Clock{
			NTP: r.NTP, RTP: r.RTP, Received: r.At, Rate: li.layer.track.info.Codec.ClockRate,
			Estimated: r.ByArrival || li.recognized.facts.EstimatedClock,
		},
		publisher: &li.input.clock, byArrival: r.ByArrival, set: r.Set,
	}, true
}

// publishClock has those who read the layer see the input's clock. The layer's mu
// is held.
func (li *LayerInput) publishClock(now time.Time) {
	if li.numbers.resync.due && li.numbers.resync.jump.Time {
		return // it goes by the numbers of before
	}
	if c, ok := li.clockAt(now); ok {
		c.RTP += li.splice.shift.ts
		li.layer.clock.Store(&c)
	}
}

// SenderReport notes that timestamp rtp is instant ntp of the publisher's wall
// clock (RFC 3550 section 6.4.1). A report that cannot be true is ignored: one that
// is zero, says nothing new, is far from what is being sent, or contradicts those
// before it. Where several in turn agree with each other, the publisher has set its
// clock, and they are accepted.
func (li *LayerInput) SenderReport(now, ntp time.Time, rtp uint32) {
	l := li.layer
	l.mu.Lock()
	defer l.mu.Unlock()
	r := report{now: now, ntp: ntp, rtp: rtp}
	if li.numbers.begins {
		li.clock.early = &r // there is nothing yet to extend the timestamp by
		return
	}
	li.report(r)
	if l.active == li {
		li.publishClock(now)
	}
}

// report is a sender report.
type report struct {
	now, ntp time.Time
	rtp      uint32
}

func (li *LayerInput) report(r report) {
	li.input.clock.report(&li.clock.track, r.now, r.ntp, seqnum.NearTime(li.numbers.newest, r.rtp))
}

// observe notes when the first packet of a frame came, and has the clock follow.
func (li *LayerInput) observe(now time.Time, ts uint64) {
	moved := li.clock.track.Observe(now, ts)
	if li.clock.early != nil {
		li.report(*li.clock.early)
		li.clock.early = nil
	}
	if l := li.layer; moved && l.active == li {
		if c, _ := li.clockAt(now); c.byArrival {
			li.publishClock(now)
		}
	}
}
