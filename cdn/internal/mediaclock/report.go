package mediaclock

import "time"

const (
	// plausible is by how much a report may deviate from the line that the one
	// before it gave, besides what two clocks drift apart.
	plausible = 25 * time.Millisecond
	// own is by how much the tracks of a publisher may be apart, as they arrive: one
	// may queue on the way, or its encoder be slow. By more only a clock is wrong
	// that they share.
	own = 2 * time.Second
	// usual is by how much they may be without a second report that says so.
	usual = 500 * time.Millisecond
	// A report that contradicts those of before is accepted once so many agree,
	// so far apart.
	repeats      = 3
	repeatsApart = 200 * time.Millisecond
	// mostRefused is how many reports in a row may contradict one that was accepted.
	mostRefused = 2
	// mostApart is how far a report's timestamp may be from what is being sent.
	mostApart = 15 * time.Second
	// staleAfter is how long a report is good for: then the clocks have drifted
	// apart, and arrivals are the better guess.
	staleAfter = 30 * time.Second
	// ntpEpoch is the NTP timestamp zero, in Unix seconds: it says that the sender
	// has no clock (RFC 3550 section 6.4.1).
	ntpEpoch = -2208988800
)

// A Wall is the wall clock of a publisher, as its tracks' reports show it. All
// tracks of one publisher share one.
type Wall struct {
	// Offset is what is added to arrival times, for tracks without reports of their
	// own.
	Offset time.Duration
	// Set is by how much the publisher has set its clock, in all.
	Set time.Duration

	leader    *Track // whose reports set Offset
	confirmed [2]confirmation
}

// A confirmation is a report that agreed with those before it.
type confirmation struct {
	track *Track
	at    time.Time
}

// Begin sets the offset, unless a report has, and reports whether it did.
func (w *Wall) Begin(offset time.Duration) bool {
	if w.leader != nil {
		return false
	}
	w.Offset = offset
	return true
}

// leads reports whether t's reports set the offset: it is the first that has any,
// as long as it has.
func (w *Wall) leads(now time.Time, t *Track) bool {
	if w.leader != t && w.leader != nil && now.Sub(w.leader.line.at) <= staleAfter {
		return false
	}
	w.leader = t
	return true
}

// confirm notes that a report of t agreed with those before it.
func (w *Wall) confirm(now time.Time, t *Track) {
	if w.confirmed[0].track != t {
		w.confirmed[1] = w.confirmed[0]
	}
	w.confirmed[0] = confirmation{track: t, at: now}
}

// contradicts reports whether another track than t has shown since a moment that
// the clock was not set.
func (w *Wall) contradicts(t *Track, since time.Time) bool {
	for _, b := range w.confirmed {
		if b.track != nil && b.track != t && b.at.Sub(since) > repeatsApart {
			return true
		}
	}
	return false
}

// A Track is what is known of one RTP stream's clock.
type Track struct {
	arrival Arrival
	// trusted: its reports have been judged already, by another node.
	trusted bool

	line  point
	known bool
	set   time.Duration // of the wall, when line came
	delta time.Duration // of the line to arrival and offset

	candidate point // the newest report that was not accepted
	first     time.Time
	agreed    int  // of those like it
	refused   int  // in a row
	proved    int  // consecutive reports that agreed with those before them
	erratic   bool // reports that were accepted have been wrong
}

// A point says that rtp is instant ntp of the publisher's wall clock.
type point struct {
	ntp time.Time
	rtp uint64
	at  time.Time // when it was learned
}

// NewTrack returns a Track for a stream with so many timestamp units a second.
// Trusted says that another node has judged its reports.
func NewTrack(rate uint32, trusted bool) Track {
	return Track{arrival: NewArrival(rate), trusted: trusted}
}

// Observe is [Arrival.Observe].
func (t *Track) Observe(now time.Time, rtp uint64) (moved bool) { return t.arrival.Observe(now, rtp) }

// Report takes a sender report that came at now, after the first packet. It
// reports whether the report is accepted.
func (t *Track) Report(w *Wall, now, ntp time.Time, rtp uint64) bool {
	p := point{ntp: ntp, rtp: rtp, at: now}
	if ntp.Unix() <= ntpEpoch || t.arrival.At(rtp).Sub(now).Abs() > mostApart {
		return false
	}
	if t.known && int64(rtp-t.line.rtp) <= 0 {
		return false // it tells nothing new
	}
	deviation, explained := t.deviation(w, p)
	if explained {
		w.confirm(now, t)
		t.accept(w, p)
		t.proved++
		return true
	}
	if (t.trusted && deviation.Abs() <= own || t.agree(p)) && t.acceptStep(w, p, deviation) {
		return true
	}
	if t.refused++; t.refused >= mostRefused && t.known {
		t.giveUp(w)
	}
	return false
}

// giveUp goes by arrivals again, since reports say now this and now that. One that
// has never been confirmed is worth nothing, then.
func (t *Track) giveUp(w *Wall) {
	t.known, t.erratic = false, true
	if t.proved < 2 {
		t.delta = 0
		if w.leader == t {
			w.leader = nil
		}
	}
	t.proved = 0
}

// deviation returns how far a report is from what earlier reports and arrivals predict, and
// whether that is explained.
func (t *Track) deviation(w *Wall, p point) (d time.Duration, explained bool) {
	byArrival := p.ntp.Sub(t.byArrival(w, p.rtp))
	if !t.known {
		if w.leader == nil || t.trusted && !t.erratic {
			return 0, true // there is nothing to hold it against
		}
		return byArrival, !t.erratic && byArrival.Abs() <= usual
	}
	passed := p.at.Sub(t.line.at)
	d = p.ntp.Sub(t.at(w, p.rtp))
	slack := plausible + time.Duration(maxSlope*float64(passed))
	// Where timestamps have stood still, arrivals tell.
	return d, d.Abs() <= slack || byArrival.Abs() <= slack && d.Abs() > broken
}

// agree notes a report that is not explained, and reports whether enough of them
// agree.
func (t *Track) agree(p point) bool {
	q := t.candidate
	passed := p.at.Sub(q.at)
	slack := plausible + time.Duration(maxSlope*float64(passed))
	if t.agreed == 0 || p.ntp.Sub(q.ntp.Add(t.duration(p.rtp-q.rtp))).Abs() > slack || int64(p.rtp-q.rtp) < 0 {
		t.candidate, t.first, t.agreed = p, p.at, 1
		return false
	}
	if passed < repeatsApart {
		return false
	}
	t.candidate = p
	t.agreed++
	return t.agreed >= repeats
}

// acceptStep accepts a report that contradicts what was known, unless other tracks
// show that it is wrong.
func (t *Track) acceptStep(w *Wall, p point, deviation time.Duration) bool {
	if deviation.Abs() > own {
		if w.contradicts(t, t.first) {
			t.agreed = 0
			return false
		}
		w.Set += deviation // the clock was set: for all tracks at once
		w.Offset += deviation
	}
	t.accept(w, p)
	return true
}

func (t *Track) accept(w *Wall, p point) {
	offset := p.ntp.Sub(t.arrival.At(p.rtp))
	switch {
	case w.leader == nil:
		w.leader, w.Offset, t.delta = t, offset, 0
	case !t.known:
		t.delta = offset - w.Offset
	case w.leads(p.at, t):
		w.Offset = offset - t.delta
	default:
		t.delta = offset - w.Offset
	}
	t.line, t.known, t.set, t.agreed, t.refused = p, true, w.Set, 0, 0
}

// at returns the publisher's wall clock at rtp by the newest report.
func (t *Track) at(w *Wall, rtp uint64) time.Time {
	return t.line.ntp.Add(w.Set - t.set + t.duration(rtp-t.line.rtp))
}

// byArrival returns the publisher's wall clock at rtp by arrivals.
func (t *Track) byArrival(w *Wall, rtp uint64) time.Time {
	return t.arrival.At(rtp).Add(w.Offset + t.delta)
}

// Reported reports whether the track goes by a report.
func (t *Track) Reported() bool { return t.known }

// A Reading is a point of the line from timestamps to the publisher's wall clock.
type Reading struct {
	NTP time.Time // without what the wall's fields add: see ByArrival
	RTP uint64
	At  time.Time // when RTP is live
	// ByArrival: [Wall.Offset] is to be added to NTP. Otherwise by how much
	// [Wall.Set] has grown beyond Set is.
	ByArrival bool
	Set       time.Duration
}

// Read returns what is known at now, and false if nothing is.
func (t *Track) Read(now time.Time) (r Reading, ok bool) {
	if t.known && now.Sub(t.line.at) <= staleAfter {
		return Reading{NTP: t.line.ntp, RTP: t.line.rtp, At: t.line.at, Set: t.set}, true
	}
	if !t.arrival.started {
		return r, false
	}
	rtp, at := t.arrival.Point()
	return Reading{NTP: at.Add(t.delta), RTP: rtp, At: at, ByArrival: true}, true
}

func (t *Track) duration(ticks uint64) time.Duration { return duration(int64(ticks), t.arrival.rate) }

// Restart notes that the stream's timestamps have jumped: all that is known of them
// is void, but for how far the track is apart from others.
func (t *Track) Restart() {
	*t = Track{arrival: Arrival{rate: t.arrival.rate}, trusted: t.trusted, delta: t.delta}
}
