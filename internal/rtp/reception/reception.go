// Package reception counts the packets that arrive of an RTP stream, for receiver
// reports (RFC 3550 section 6.4.1 and appendix A).
package reception

import (
	"math"
	"time"

	"github.com/pion/rtcp"

	"github.com/deltacdn/delta/internal/rtp/ntp"
	"github.com/deltacdn/delta/internal/rtp/seqnum"
)

// A Counter counts the packets of one SSRC. The zero value is ready to use. It is not
// safe for concurrent use.
type Counter struct {
	seq      seqnum.Seq
	first    uint64
	count    uint64 // packets that arrived
	expected uint64 // at the last report, as counted
	counted  uint64
	transit  uint32 // of the last packet, in ticks
	begun    time.Time
	jitter   float64   // in ticks
	reported time.Time // when the sender last reported
	report   uint64    // the NTP time of that report
	suspect  bool      // the last packet may have begun a new numbering
	next     uint16    // then: the number that would confirm that
}

// farAway is how far from the highest number a packet is of a new numbering, if the next one
// follows it (RFC 3550 appendix A.1): the sender was reset. What is sent again is nearer.
const farAway = 3000

// Received counts a packet. rate is the RTP clock's, in ticks a second; 0: the jitter is
// not measured. A packet far away from those before it does not count, unless another one
// follows it.
func (c *Counter) Received(now time.Time, seq uint16, timestamp, rate uint32) {
	anew := c.count == 0
	if !anew && !c.IsNear(seq, farAway) {
		if !c.suspect || seq != c.next {
			c.suspect, c.next = true, seq+1
			return
		}
		c.restart(seq)
		anew = true
	}
	c.suspect = false
	ext := c.seq.Unwrap(seq)
	if c.count == 0 {
		c.first, c.begun = ext, now
	}
	c.count++
	if rate == 0 {
		return
	}
	passed := now.Sub(c.begun) // in two parts, since nanoseconds times the rate overflow after a day
	arrival := int64(passed/time.Second)*int64(rate) + int64(passed%time.Second)*int64(rate)/int64(time.Second)
	transit := uint32(arrival) - timestamp
	if !anew {
		d := int64(int32(transit - c.transit))
		c.jitter += (float64(max(d, -d)) - c.jitter) / 16
	}
	c.transit = transit
}

// restart begins a new numbering. Nothing was lost in between.
func (c *Counter) restart(seq uint16) {
	expected := c.seq.Highest() - c.first + 1
	c.seq = seqnum.Seq{}
	c.first = c.seq.Unwrap(seq) - expected
}

// SenderReport notes that a sender report with an NTP timestamp arrived.
func (c *Counter) SenderReport(now time.Time, stamp uint64) { c.reported, c.report = now, stamp }

// IsNewest reports whether a sequence number is the highest that arrived.
func (c *Counter) IsNewest(seq uint16) bool { return uint16(c.seq.Highest()) == seq }

// IsNear reports whether a sequence number is less than n away from the highest.
func (c *Counter) IsNear(seq uint16, n int) bool {
	behind := int(int16(uint16(c.seq.Highest()) - seq))
	return c.count > 0 && behind > -n && behind < n
}

// Totals returns how many packets were sent since the first that arrived, by their
// sequence numbers, and how many of those arrived.
func (c *Counter) Totals() (expected, received uint64) {
	if c.count == 0 {
		return 0, 0
	}
	return c.seq.Highest() - c.first + 1, c.count
}

// Block returns the block of a receiver report about the packets since the last one. It
// is false if no packet has arrived.
func (c *Counter) Block(now time.Time, ssrc uint32) (b rtcp.ReceptionReport, ok bool) {
	if c.count == 0 {
		return b, false
	}
	b = rtcp.ReceptionReport{SSRC: ssrc, LastSequenceNumber: uint32(c.seq.Highest() - 1<<16), Jitter: uint32(c.jitter)}
	b.FractionLost, b.TotalLost = c.lost()
	if !c.reported.IsZero() {
		b.LastSenderReport = ntp.Middle(c.report)
		b.Delay = uint32(min(now.Sub(c.reported).Seconds()*65536, math.MaxUint32))
	}
	return b, true
}

// lost returns the fraction lost since the last report, and the number lost in all.
func (c *Counter) lost() (fraction uint8, total uint32) {
	expected := c.seq.Highest() - c.first + 1
	if expected > c.count {
		total = uint32(min(expected-c.count, 1<<23-1))
	}
	interval, came := expected-c.expected, c.count-c.counted
	c.expected, c.counted = expected, c.count
	if int64(interval) > 0 && interval > came {
		fraction = uint8(min((interval-came)*256/interval, 255))
	}
	return fraction, total
}
