package budget

import "time"

// A span sums what was added in the last second, to an eighth of a second.
type span struct {
	buckets [spanBuckets]int
	newest  int64 // number of the newest bucket since the beginning of time
	sum     int
}

// rate returns how much was added a second.
func (s *span) rate(now time.Time) float64 {
	s.roll(now)
	held := (spanBuckets-1)*spanBucket + time.Duration(now.UnixNano()%int64(spanBucket))
	return float64(s.sum) / held.Seconds()
}

func (s *span) add(now time.Time, n int) {
	s.roll(now)
	s.buckets[s.newest%spanBuckets] += n
	s.sum += n
}

// roll forgets what is too old by now. Time that runs backward is the present.
func (s *span) roll(now time.Time) {
	to := now.UnixNano() / int64(spanBucket)
	if to-s.newest > spanBuckets {
		*s = span{newest: to}
	}
	for s.newest < to {
		s.newest++
		old := &s.buckets[s.newest%spanBuckets]
		s.sum -= *old
		*old = 0
	}
}
