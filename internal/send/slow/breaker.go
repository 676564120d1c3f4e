// Package slow ends sessions that are of no use: the outer circuit breaker of RFC 8083
// section 4.3 and RFC 8834 section 7.1. What a viewer is sent less of, short of that, is
// decided by packages bwe and allot.
package slow

import "time"

// A Breaker says when a session is of no use any more: when its viewer has reported for as
// long as its patience that half of the sound or more is lost (of a stream without sound: of
// the video). It is the last step of a circuit breaker (RFC 8083 section 4.3). Nothing
// else ends a session for slowness.
//
// The zero value never trips. A Breaker is not safe for concurrent use and does
// not allocate.
type Breaker struct {
	patience time.Duration
	overload time.Duration // counted so far
	last     time.Time     // when the last report came
	tripped  bool
}

const (
	defaultPatience = 30 * time.Second
	// unintelligible is the fraction lost from which sound is of no use.
	unintelligible = 0.5
	// longestReport bounds the time that one report is about (by RFC 3550 section 6.2 they
	// come every five seconds, give or take a half).
	longestReport = 8 * time.Second
)

// NewBreaker returns a Breaker that has counted nothing and trips after so many seconds of
// overload. If patience is zero, 30 s.
func NewBreaker(patience time.Duration) Breaker {
	if patience <= 0 {
		patience = defaultPatience
	}
	return Breaker{patience: patience}
}

// Report notes the fraction lost, 0 to 1, of one report block, which is about the time since
// the block before it. A bad second adds a second to the overload, and a good one takes a
// second off. The caller leaves out blocks about a time in which it sent nothing.
func (b *Breaker) Report(now time.Time, fractionLost float64) {
	since := now.Sub(b.last)
	if b.last.IsZero() {
		since = 0
	}
	b.last = now
	since = min(max(since, 0), longestReport)
	if fractionLost < unintelligible {
		b.overload = max(b.overload-since, 0)
		return
	}
	b.overload += since
	b.tripped = b.tripped || b.patience > 0 && b.overload >= b.patience
}

// Skip notes that nothing was sent since the last report.
func (b *Breaker) Skip(now time.Time) { b.last = now }

// Tripped reports whether the session is to be ended. It never becomes false again.
func (b *Breaker) Tripped() bool { return b.tripped }
