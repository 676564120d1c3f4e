// Package nack finds the packets that are missing from one RTP stream and says
// when to ask for them again, as generic NACKs (RFC 4585 section 6.2.1).
// RFC 8834 section 6.1 leaves the timing to the receiver; here a packet is
// asked for once it is later than reordering explains, and then once a round
// trip until it comes or is not worth having any more.
package nack

import (
	"cmp"
	"math/bits"
	"slices"
	"time"
)

// minWindow is how many numbers behind the highest a duplicate is known from
// a packet that is merely late, at least.
const minWindow = 2048

// Config tunes a [Generator].
type Config struct {
	// Reorder is the least wait from finding a gap to the first request. It
	// grows by itself to at most 50 ms or a third of the round trip on a
	// path that reorders. If zero, 5 ms.
	Reorder time.Duration
	// MaxTries is how often one packet is requested. If zero, 12.
	MaxTries int
	// MaxAge is how long after it was found missing a packet is given up. If
	// zero, 2 s.
	MaxAge time.Duration
	// MaxMissing is how many packets are tracked at once; the oldest make room
	// for newer ones. One gap of more is a discontinuity, after which nothing
	// from before it is requested. If zero, 512.
	MaxMissing int
}

func (c Config) withDefaults() Config {
	if c.Reorder <= 0 {
		c.Reorder = 5 * time.Millisecond
	}
	if c.MaxTries <= 0 {
		c.MaxTries = 12
	}
	if c.MaxAge <= 0 {
		c.MaxAge = 2 * time.Second
	}
	if c.MaxMissing <= 0 {
		c.MaxMissing = 512
	}
	return c
}

// A Generator watches one stream. It is not safe for concurrent use, and does
// not allocate once as many packets were missing as ever are.
type Generator struct {
	config Config // static after New

	started bool
	highest uint64
	window  window

	missing []missing // ascending by seq, at most config.MaxMissing
	next    time.Time // no entry is due before; meaningless if missing is empty

	rtt     roundTrip
	reorder reordering
	answers answers
	burst   burst
}

// A burst is the newest gap of many packets. It may have been lost, or have never
// been sent: what was asked for in vain a few times, all of it, was not.
type burst struct {
	first, end uint64 // numbers
	answered   bool   // some of it came
}

const (
	minBurst   = 32
	burstTries = 3
)

// vain reports whether m is one of a burst of which nothing came.
func (b *burst) vain(m missing) bool {
	return !b.answered && m.seq >= b.first && m.seq < b.end && m.tries >= burstTries
}

// A missing is a packet that has not come.
type missing struct {
	seq     uint64
	noticed time.Time
	due     time.Time // of the next request
	first   time.Time // request
	tries   int
}

// New returns a generator that has seen no packet. What comes before the first
// packet is not missed; a caller that knows the number with which the stream
// begins says so by calling [Generator.Received] with the one before it.
func New(c Config) *Generator {
	c = c.withDefaults()
	words := 1 << bits.Len(uint(max(minWindow, 2*c.MaxMissing)/wordBits-1))
	return &Generator{config: c, window: newWindow(words), reorder: reordering{floor: c.Reorder}}
}

// Received notes the arrival of the packet with extended sequence number seq,
// first sent or repaired alike. It reports whether the packet is new: if not,
// it came before, or is too old to tell, and the caller drops it. A gap before
// seq is noticed now; call [Generator.Due] to learn when to act on it.
func (g *Generator) Received(now time.Time, seq uint64) (fresh bool) {
	switch {
	case !g.started:
		g.started, g.highest = true, seq
	case seq > g.highest:
		g.window.advance(g.highest, seq)
		g.gap(now, g.highest+1, seq)
		g.highest = seq
	case g.highest-seq >= g.window.size():
		return false
	case g.window.seen(seq):
		g.duplicate(now, seq)
		return false
	default:
		g.late(now, seq)
	}
	g.window.mark(seq)
	return true
}

// gap starts to miss the numbers from first up to but not including end.
func (g *Generator) gap(now time.Time, first, end uint64) {
	n := int(min(end-first, uint64(g.config.MaxMissing)+1))
	if n == 0 {
		return
	}
	if n > g.config.MaxMissing {
		g.missing = g.missing[:0]
		return
	}
	if over := len(g.missing) + n - g.config.MaxMissing; over > 0 {
		g.missing = slices.Delete(g.missing, 0, over)
	}
	if n >= minBurst {
		g.burst = burst{first: first, end: end}
	}
	due := now.Add(g.reorder.wait(now, g.RTT()))
	if len(g.missing) == 0 || due.Before(g.next) {
		g.next = due
	}
	for ; first < end; first++ {
		g.missing = append(g.missing, missing{seq: first, noticed: now, due: due})
	}
}

// late takes a packet from behind the highest, and learns from when it came.
func (g *Generator) late(now time.Time, seq uint64) {
	i, ok := g.find(seq)
	if !ok {
		return
	}
	m := g.missing[i]
	g.missing = slices.Delete(g.missing, i, i+1)
	if seq >= g.burst.first && seq < g.burst.end {
		g.burst.answered = true
	}
	if m.tries == 0 {
		g.reorder.late(now, now.Sub(m.noticed))
		return
	}
	a := answer{seq: seq, depth: now.Sub(m.noticed), first: m.first, came: now, tries: m.tries}
	if oldest, full := g.answers.push(a); full {
		g.repaired(oldest)
	}
	g.expireAnswers(now)
}

// expireAnswers learns from the answers that came so long ago that no second copy is
// to be expected.
func (g *Generator) expireAnswers(now time.Time) {
	before := now.Add(-2 * g.rtt.interval(1))
	for a, ok := g.answers.popBefore(before); ok; a, ok = g.answers.popBefore(before) {
		g.repaired(a)
	}
}

// repaired learns from an answer that came once. Of a packet that was requested
// several times, nobody knows which request it answers (Karn's algorithm,
// RFC 6298 section 3).
func (g *Generator) repaired(a answer) {
	if a.tries == 1 {
		g.rtt.sample(a.came.Sub(a.first))
	}
}

// duplicate learns from the second copy of a packet. If it was requested once,
// the first copy was no answer and this one is; else the first copy answered
// the first request, and the round trip is longer than was thought.
func (g *Generator) duplicate(now time.Time, seq uint64) {
	a, ok := g.answers.take(seq)
	switch {
	case !ok:
	case a.tries == 1:
		g.reorder.late(now, a.depth)
		g.rtt.sample(now.Sub(a.first))
	default:
		g.rtt.sample(a.came.Sub(a.first))
	}
}

func (g *Generator) find(seq uint64) (int, bool) {
	return slices.BinarySearchFunc(g.missing, seq, func(m missing, seq uint64) int {
		return cmp.Compare(m.seq, seq)
	})
}

// Due appends to dst the numbers to request now, ascending, and returns when
// it next wants to be called: zero means not before the next Received. It
// counts what it appends as requested. Calling it early is cheap.
func (g *Generator) Due(now time.Time, dst []uint64) ([]uint64, time.Time) {
	if len(g.missing) == 0 {
		return dst, time.Time{}
	}
	if now.Before(g.next) {
		return dst, g.next
	}
	kept := g.missing[:0]
	for _, m := range g.missing {
		if !now.Before(m.due) {
			if g.hopeless(now, m) {
				continue
			}
			dst = append(dst, m.seq)
			if m.tries++; m.tries == 1 {
				m.first = now
			}
			m.due = now.Add(g.rtt.interval(m.tries))
		}
		if len(kept) == 0 || m.due.Before(g.next) {
			g.next = m.due
		}
		kept = append(kept, m)
	}
	g.missing = kept
	if len(kept) == 0 {
		return dst, time.Time{}
	}
	return dst, g.next
}

// hopeless reports whether m, for which a request is due, is given up instead.
func (g *Generator) hopeless(now time.Time, m missing) bool {
	return m.tries >= g.config.MaxTries || now.Sub(m.noticed) >= g.config.MaxAge || g.burst.vain(m)
}

// Missing returns how many packets are being waited for.
func (g *Generator) Missing() int { return len(g.missing) }

// RTT returns the smoothed time from a request to its repair; before there is
// a sample, 80 ms.
func (g *Generator) RTT() time.Duration { return g.rtt.smoothed() }
