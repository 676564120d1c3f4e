// Package budget bounds what is retransmitted to one viewer, so that a viewer that loses
// much, or that asks for more than it lost, costs the others nothing.
// RFC 4585 section 7 asks that feedback never make congestion worse, and
// RFC 4588 section 7 that the retransmission rate be bounded.
package budget

import (
	"math"
	"time"
)

const (
	spanBuckets = 8                      // of the sliding second
	spanBucket  = 125 * time.Millisecond // each
	assumedRTT  = 50 * time.Millisecond  // if the caller does not know it
)

// The parts of the credit that only a first repair may use, and only a single one.
const (
	firstsPart = 0.5
	singlePart = 0.75
)

// Lately is the time over which [Budget.Rate] is measured.
const Lately = time.Second

// Unknown is the room of a path of which nothing is known: see [Budget.Allow].
var Unknown = math.Inf(1)

// Config tunes a [Budget].
type Config struct {
	// Share is how many bytes may be repaired for each byte of media. If zero,
	// 0.25.
	Share float64
	// Burst is how many bytes may be repaired beyond that at the start, and
	// after a quiet time: losses come in bursts and begin with the first
	// packets. If zero, 32 packets of 1200 bytes.
	Burst int
	// Opening is for how long, from the first media on, each byte of media may be
	// repaired: a loss at the start costs most, and a receiver that starts is sent media
	// faster than live. If zero, a second; if negative, none.
	Opening time.Duration
	// Twice says that each repair is sent twice while there is plenty of credit, and not
	// only where the repair before was lost: the receiver has many others wait for it.
	Twice bool
	// Exact says that the receiver asks for nothing again that has come, by RTX or
	// otherwise. Of other receivers that is measured.
	Exact bool
}

func (c Config) withDefaults() Config {
	if c.Share <= 0 {
		c.Share = 0.25
	}
	if c.Burst <= 0 {
		c.Burst = 32 * 1200
	}
	if c.Opening == 0 {
		c.Opening = time.Second
	}
	return c
}

// A Budget is a credit in bytes. Media earns its share of it, and repairs spend it. At
// most what the media of the last second earned is saved up, or Burst if that is more. So
// all repairs together are at most Burst, the media of the opening, the share of all other
// media, and the difference between the last packet's length and what Allow was told.
//
// Half of the credit is kept for packets that are repaired for the first time: however
// often a receiver repeats its requests, a packet that it asks for the first time is sent.
//
// A Budget is not safe for concurrent use. It allocates once, for the first repair: most
// viewers need none.
type Budget struct {
	config Config // static after New

	credit float64
	media  span
	opened time.Time // when the first media was sent; zero: none was
	table  *table    // nil before the first repair
	denied Denied
	rtt    time.Duration // smoothed
	stray  time.Duration // how far samples are from that, smoothed

	// Reordering is that of the receiver's path. The caller uses it.
	Reordering Reordering
}

// Denied counts the retransmissions that were refused, by reason.
type Denied struct {
	Credit uint64 // over the share
	Room   uint64 // over what the path carries beside the media
	Repeat uint64 // within a round trip of the last for the same packet, or needless
}

// New returns a budget with the whole burst.
func New(c Config) *Budget {
	c = c.withDefaults()
	return &Budget{config: c, credit: float64(c.Burst)}
}

// Sent notes that bytes of media were sent for the first time.
func (b *Budget) Sent(now time.Time, bytes int) {
	if b.opened.IsZero() {
		b.opened = now
	}
	b.media.add(now, bytes)
	b.credit = min(b.credit+b.share(now)*float64(bytes), b.most(now))
}

// A Request is for one packet.
type Request struct {
	Seq   uint64 // the number of the packet in the source's numbering
	Bytes int    // its length
	// RTT is the present round trip; a packet is repaired at most once in it. If zero, it
	// is not known, and 50 ms. It is better too short than too long: a request that is
	// refused costs the viewer a round trip.
	RTT time.Duration
	// Room is how many bytes a second the path carries beside what is sent now, repairs
	// included: [Unknown] if that is not known.
	Room float64
	// Far says that the receiver is far away: if the repair is lost, another comes too late.
	Far bool
}

// Allow returns how many copies of a packet may be sent again now: none, one, or two if
// another loss would cost much (the repair before was lost, the receiver is far, or
// [Config].Twice) and there is plenty of credit. The caller sends as many, and tells
// [Budget.Spend] how many bytes that took. Of two packets that are a multiple of 512
// numbers apart, only the newer repair is remembered.
func (b *Budget) Allow(now time.Time, r Request) (copies int) {
	if r.RTT <= 0 {
		r.RTT = assumedRTT
	}
	if b.table == nil {
		b.table = &table{epoch: now}
	}
	last, again := b.table.find(r.Seq)
	if again && b.isNeedless(now, last, r.RTT) {
		b.denied.Repeat++
		return 0
	}
	b.media.roll(now)
	most := b.most(now)
	b.credit = min(b.credit, most) // what was earned longer ago is lost
	keep := 0.0
	if again {
		keep = firstsPart * most
	}
	switch {
	case b.credit < keep+float64(r.Bytes):
		b.denied.Credit++
		return 0
	case r.Room < float64(r.Bytes):
		b.denied.Room++
		return 0
	}
	b.table.note(now, r.Seq, last, again)
	if (again || r.Far || b.config.Twice) && !b.isDeaf() && b.credit >= singlePart*most && r.Room >= 2*float64(r.Bytes) {
		return 2
	}
	return 1
}

// Repaired reports whether the packet was repaired already: then the repair was lost too,
// or the request came twice.
func (b *Budget) Repaired(seq uint64) bool {
	if b.table == nil {
		return false
	}
	_, again := b.table.find(seq)
	return again
}

// RepairedNow reports whether the packet was repaired at this very time.
func (b *Budget) RepairedNow(now time.Time, seq uint64) bool {
	if b.table == nil {
		return false
	}
	last, again := b.table.find(seq)
	return again && b.table.since(now, last) == 0
}

// Plenty reports whether there is so much credit that a packet may be sent twice.
func (b *Budget) Plenty(now time.Time) bool {
	b.media.roll(now)
	return b.credit >= singlePart*b.most(now)
}

// Spend notes that so many bytes were sent again.
func (b *Budget) Spend(now time.Time, bytes int) {
	b.credit -= float64(bytes)
	if b.table != nil {
		b.table.spent.add(now, bytes)
	}
}

// Answer notes that a packet is sent again that the receiver has asked for.
func (b *Budget) Answer() {
	if b.table != nil {
		b.table.answered++
	}
}

// Answered returns how often that was so.
func (b *Budget) Answered() uint64 {
	if b.table == nil {
		return 0
	}
	return b.table.answered
}

// Reported notes that so many packets are lost according to a report, since the one before.
// Repairs must not count as received in it; see [Reordering].
func (b *Budget) Reported(lost float64) {
	needed := b.Reordering.reported(lost)
	if t := b.table; t != nil {
		t.needed += needed * float64(t.answered-t.reported)
		t.reported = t.answered
	}
}

// Needed returns how many of those that were answered until the last report were lost. The
// others have come, behind packets that had overtaken them.
func (b *Budget) Needed() uint64 {
	if b.table == nil {
		return 0
	}
	return uint64(b.table.needed)
}

// Rate returns how many bytes a second were sent lately, repairs included.
func (b *Budget) Rate(now time.Time) float64 {
	rate := b.media.rate(now)
	if b.table != nil {
		rate += b.table.spent.rate(now)
	}
	return rate
}

// Repairs returns how many bytes a second of repairs were sent lately.
func (b *Budget) Repairs(now time.Time) float64 {
	if b.table == nil {
		return 0
	}
	return b.table.spent.rate(now)
}

// Measured takes a sample of the round trip; 0: there is none.
func (b *Budget) Measured(rtt time.Duration) {
	switch {
	case rtt <= 0:
	case b.rtt == 0:
		b.rtt = rtt
	default:
		b.stray += ((rtt - b.rtt).Abs() - b.stray) / 2
		b.rtt += (rtt - b.rtt) / 2
	}
}

// RTT returns the present round trip, 0 before the first sample: of the samples, of which
// there is about one a second, each counts half as much as the one after it. Where they
// vary, it is the least that is likely.
func (b *Budget) RTT() time.Duration { return max(0, b.rtt-2*b.stray) }

// Opening reports whether the opening lasts.
func (b *Budget) Opening(now time.Time) bool {
	return b.opened.IsZero() || now.Sub(b.opened) < b.config.Opening
}

func (b *Budget) share(now time.Time) float64 {
	if b.Opening(now) {
		return max(1, b.config.Share)
	}
	return b.config.Share
}

func (b *Budget) most(now time.Time) float64 {
	return max(float64(b.config.Burst), b.share(now)*float64(b.media.sum))
}

// isDeaf reports whether the receiver asks again for most of what was repaired. Then it
// does not count what comes by RTX, as many do not, or more than half is lost.
func (b *Budget) isDeaf() bool { return !b.config.Exact && b.table.isDeaf() }

// isNeedless reports whether another repair after the last would be one too many: within a
// round trip, or the third for a receiver that does not count what comes by RTX.
func (b *Budget) isNeedless(now time.Time, last *record, rtt time.Duration) bool {
	if b.table.since(now, last) < rtt {
		return true
	}
	b.table.askedAgain(last)
	return last.repeats > 0 && b.isDeaf()
}

// Denied returns the counts so far.
func (b *Budget) Denied() Denied { return b.denied }
