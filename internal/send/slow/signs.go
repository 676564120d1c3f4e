package slow

import "time"

// stale is how long a sign lasts that is not renewed.
const stale = 3 * time.Second

// A spell is a condition that has held for some time. The zero spell does not hold.
type spell struct{ since, renewed time.Time }

// set notes whether the condition holds now.
func (s *spell) set(now time.Time, holds bool) {
	switch {
	case !holds:
		*s = spell{}
	case s.lasts(now) == 0:
		*s = spell{since: now, renewed: now}
	default:
		s.renewed = now
	}
}

// lasts returns for how long the condition is known to have held: from the first to the last
// time that it was noted, and at least a nanosecond. It is zero if the condition does not
// hold, or was not noted for some seconds. Time that passes after two bad reports makes
// them no worse.
func (s *spell) lasts(now time.Time) time.Duration {
	if s.since.IsZero() || now.Sub(s.renewed) > stale {
		return 0
	}
	return max(s.renewed.Sub(s.since), 1)
}

// loss is what receiver reports say.
type loss struct {
	high spell // at least the threshold
	some spell // at least two thirds of it
	any  spell // more than anyLoss

	reported time.Time // when the last report came, or the first packet was sent
}

// anyLoss is the fraction above which a report counts as some loss at all.
const anyLoss = 0.02

// unreportedAfter is the longest time between two reports of a viewer that sends reports
// (RFC 3550 section 6.2).
const unreportedAfter = 8 * time.Second

// unreported reports whether the viewer sends no reports, so that only NACKs tell of
// losses.
func (l *loss) unreported(now time.Time) bool { return now.Sub(l.reported) > unreportedAfter }

func (l *loss) report(now time.Time, fraction, threshold float64) {
	l.reported = now
	l.high.set(now, fraction >= threshold)
	l.some.set(now, fraction >= threshold*2/3)
	l.any.set(now, fraction > anyLoss)
}

// An estimate is the bandwidth that REMB tells of, in bits a second.
type estimate struct {
	low  spell   // it is below what is sent, and not rising
	last float64 // the lowest since low began
	peak float64 // the highest since the start, or since the last Down
}

const (
	lowShare  = 0.85 // of the send rate, or of the peak: an estimate below it is low
	ramp      = 1.05 // an estimate that rises by that is still finding the bandwidth
	videoRate = 100e3
)

// update notes an estimate, and the rate that is sent, both in bits a second. Below
// 100 kbit/s no estimate is too low: so little is paused video, or a slide.
func (e *estimate) update(now time.Time, bits, rate float64) {
	e.peak = max(e.peak, bits)
	low := bits < lowShare*rate && rate > videoRate
	if rising := bits > ramp*e.last; !low || rising {
		e.low.set(now, false)
	}
	if e.low.lasts(now) == 0 {
		e.last = bits
	}
	e.last = min(e.last, bits)
	e.low.set(now, low)
}

// fell reports whether the estimate was clearly higher.
func (e *estimate) fell() bool { return e.last < lowShare*e.peak }
