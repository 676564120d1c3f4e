// Package budget bounds what is retransmitted to one viewer, so that a viewer that loses
// much, or that asks for more than it lost, costs the others nothing.
// RFC 4585 section 7 asks that feedback never make congestion worse, and
// RFC 4588 section 7 that the retransmission rate be bounded.
package budget

import "time"

const (
	spanBuckets = 8                      // of the sliding second
	spanBucket  = 125 * time.Millisecond // each
	recentSlots = 256                    // packets whose last repair is remembered
	assumedRTT  = 50 * time.Millisecond  // if the caller does not know it
)

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
// media, and the difference between the last packet's length and what Allow was told. A
// Budget is not safe for concurrent use. It allocates once, for the first repair: most
// viewers need none.
type Budget struct {
	config Config // static after New

	credit float64
	media  span
	opened time.Time            // when the first media was sent; zero: none was
	recent *[recentSlots]repair // nil before the first repair
	epoch  time.Time            // of the first repair
	denied Denied
}

// A repair is the last retransmission of a packet.
type repair struct {
	seq uint64        // the packet's, plus 1; 0: none
	at  time.Duration // since epoch
}

// Denied counts the retransmissions that were refused, by reason.
type Denied struct {
	Credit uint64 // over the share
	Repeat uint64 // within a round trip of the last for the same packet
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

// Allow reports whether the packet seq, of so many bytes, may be sent again now. If so, the
// caller sends it, and tells [Budget.Spend] how many bytes that took. A packet is repaired
// at most once in rtt (if zero, 50 ms). It is better to pass too short a time than one that
// is too long: a request that is refused costs the viewer a round trip. Of two packets that
// are 256 numbers apart, only the newer repair is remembered.
func (b *Budget) Allow(now time.Time, seq uint64, bytes int, rtt time.Duration) bool {
	if rtt <= 0 {
		rtt = assumedRTT
	}
	if b.recent == nil {
		b.recent, b.epoch = new([recentSlots]repair), now
	}
	last, at := &b.recent[seq%recentSlots], now.Sub(b.epoch)
	if last.seq == seq+1 && at-last.at < rtt {
		b.denied.Repeat++
		return false
	}
	b.media.roll(now)
	b.credit = min(b.credit, b.most(now)) // what was earned longer ago is lost
	if b.credit < float64(bytes) {
		b.denied.Credit++
		return false
	}
	*last = repair{seq: seq + 1, at: at}
	return true
}

// Again reports whether the packet was repaired already: then the repair was lost too, or
// the request came twice.
func (b *Budget) Again(seq uint64) bool {
	return b.recent != nil && b.recent[seq%recentSlots].seq == seq+1
}

// Spend notes that so many bytes were sent again.
func (b *Budget) Spend(bytes int) { b.credit -= float64(bytes) }

// Plenty reports whether half of what may be saved up is there, so that a second repair of
// one packet takes nothing from the first repairs of others.
func (b *Budget) Plenty(now time.Time) bool { return b.credit >= b.most(now)/2 }

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

// Denied returns the counts so far.
func (b *Budget) Denied() Denied { return b.denied }
