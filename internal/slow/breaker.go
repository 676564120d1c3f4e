package slow

import "time"

// A Breaker says when a session is no use any more: for [Config].Patience its
// viewer has lost half of the sound, or more, in its own receiver reports (of a
// stream without sound: of the video). It is the last step of a circuit breaker
// (RFC 8083 section 4.3). Nothing else ends a session for slowness.
//
// The zero value never trips. A Breaker is not safe for concurrent use and does
// not allocate.
type Breaker struct {
	patience time.Duration
	overload time.Duration // counted so far
	last     time.Time     // of the reports
	tripped  bool
}

const (
	// lostToTheEar is the fraction lost from which sound is of no use.
	lostToTheEar = 0.5
	// longestReport bounds the time that one report speaks for (RFC 3550 section
	// 6.2 sends them every five seconds, give or take a half).
	longestReport = 8 * time.Second
)

// NewBreaker returns a Breaker that has counted nothing.
func NewBreaker(c Config) Breaker { return Breaker{patience: c.withDefaults().Patience} }

// Report notes the fraction lost, 0 to 1, of one report block, which speaks for
// the time since the block before. A bad second adds a second to the overload, a
// good one takes a second off. The caller leaves out blocks about a time in which
// it sent nothing: they say nothing.
func (b *Breaker) Report(now time.Time, fractionLost float64) {
	since := now.Sub(b.last)
	if b.last.IsZero() {
		since = 0
	}
	b.last = now
	since = min(max(since, 0), longestReport)
	if fractionLost < lostToTheEar {
		b.overload = max(b.overload-since, 0)
		return
	}
	b.overload += since
	b.tripped = b.tripped || b.patience > 0 && b.overload >= b.patience
}

// Skip notes a time in which nothing was sent, for which no report speaks.
func (b *Breaker) Skip(now time.Time) { b.last = now }

// Tripped reports whether the session is to be ended. Once it is so, it stays so.
func (b *Breaker) Tripped() bool { return b.tripped }
