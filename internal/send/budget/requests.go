package budget

import "time"

// Requests bounds how many keyframes one viewer may cause: each costs all that watch the
// layer. RequestBurst are granted at once, for a viewer on a bad path, and beyond that one
// each RequestEvery. The burst is restored at that pace, too. A request that is not granted
// is kept until it is, or until a keyframe comes. The zero value is ready to use. It is not
// safe for concurrent use.
type Requests struct {
	spent  int       // of the burst
	since  time.Time // when the wait for the next one to be restored began
	asked  time.Time // when one was granted whose keyframe has not come; zero: none is awaited
	came   time.Time // when the last keyframe came
	owed   bool      // there is a request that was not granted
	denied uint64
}

const (
	// RequestBurst is how many keyframes are granted at once.
	RequestBurst = 5
	// RequestEvery is the time between those that are granted beyond that.
	RequestEvery = 3 * time.Second
	// awaitFor is how long a keyframe is awaited, while the layer repeats the request. A
	// later one may be lost on the way to this viewer.
	awaitFor = 2 * time.Second
)

// Ask reports whether a viewer's request for a keyframe is granted. It is not while one is
// awaited, nor within a round trip of the last, which was on the way when the viewer asked.
func (r *Requests) Ask(now time.Time, rtt time.Duration) bool {
	r.refill(now)
	switch {
	case !r.came.IsZero() && now.Sub(r.came) < rtt, !r.asked.IsZero() && now.Sub(r.asked) < awaitFor:
		return false
	case r.spent < RequestBurst:
		r.grant(now)
		return true
	}
	if !r.owed {
		r.owed = true
		r.denied++
	}
	return false
}

// Due returns when a request that was not granted will be, or zero if there is none.
func (r *Requests) Due() time.Time {
	if !r.owed {
		return time.Time{}
	}
	return r.since.Add(RequestEvery)
}

// Take reports whether a request that was not granted is granted now.
func (r *Requests) Take(now time.Time) bool {
	if !r.owed || now.Before(r.Due()) {
		return false
	}
	r.refill(now)
	r.grant(now)
	return true
}

// Keyframe notes that the viewer was sent one, and waits for none any more.
func (r *Requests) Keyframe(now time.Time) {
	r.asked, r.came, r.owed = time.Time{}, now, false
}

// Denied returns how many requests were not granted when they came. Repetitions do not
// count.
func (r *Requests) Denied() uint64 { return r.denied }

func (r *Requests) grant(now time.Time) {
	if r.spent == 0 {
		r.since = now
	}
	r.spent++
	r.asked, r.owed = now, false
}

func (r *Requests) refill(now time.Time) {
	for r.spent > 0 && now.Sub(r.since) >= RequestEvery {
		r.spent--
		r.since = r.since.Add(RequestEvery)
	}
}
