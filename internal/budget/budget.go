// Package budget bounds what is sent again to one viewer, so that a viewer on a
// bad path neither drowns itself nor costs the others.
package budget

import "time"

// Config tunes a [Budget].
type Config struct {
	// Share of the media's bytes that repairs may take. If zero, 0.25.
	Share float64
	// Floor is how many bytes may always be repaired, for losses at the start.
	// If zero, 32 packets of 1200 bytes.
	Floor int
	// MinInterval is the least time between two repairs of one packet, where
	// the round trip is shorter or unknown. If zero, 10 ms.
	MinInterval time.Duration
}

// slots bounds how many packets' repairs are remembered.
const slots = 256

// A Budget is one viewer's. It is not safe for concurrent use.
type Budget struct {
	config Config
	tokens float64 // bytes that may be sent again
	recent [slots]repair
}

type repair struct {
	seq uint64
	at  time.Time
}

// New returns a budget with its floor to spend.
func New(c Config) *Budget {
	if c.Share <= 0 {
		c.Share = 0.25
	}
	if c.Floor <= 0 {
		c.Floor = 32 * 1200
	}
	if c.MinInterval <= 0 {
		c.MinInterval = 10 * time.Millisecond
	}
	return &Budget{config: c, tokens: float64(c.Floor)}
}

// Sent notes media that went out, which earns a share of it.
func (b *Budget) Sent(_ time.Time, bytes int) {
	b.tokens = min(b.tokens+b.config.Share*float64(bytes), float64(b.config.Floor))
}

// Allow reports whether packet seq may be sent again now, and counts it if so:
// at most once a round trip, and within the share.
func (b *Budget) Allow(now time.Time, seq uint64, bytes int, rtt time.Duration) bool {
	r := &b.recent[seq%slots]
	if r.seq == seq && !r.at.IsZero() && now.Sub(r.at) < max(rtt, b.config.MinInterval) {
		return false
	}
	if b.tokens < float64(bytes) {
		return false
	}
	b.tokens -= float64(bytes)
	*r = repair{seq, now}
	return true
}
