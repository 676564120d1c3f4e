// Package timeline maps the RTP timestamps of what is published to those that one
// receiver is sent. The map consists of segments. In a segment the sent timestamps
// advance with the source's, or more slowly while the receiver catches up: media that
// is sent four times faster than live then looks live to the receiver.
//
// Sequence numbers are no business of this package.
package timeline

// A Speed is how many times faster than live media is sent, in quarters.
type Speed uint8

// The speeds. A receiver that catches up is sent media with Fastest, or less where its path
// does not carry that.
const (
	Live    Speed = 4
	Fastest       = 4 * Live
)

// kept is how many segments are kept beside the newest, for repairs.
const kept = 12

// A segment maps the source's timestamps from one of them on, until the next
// segment begins.
type segment struct {
	from   uint64 // source timestamp with which it begins
	as     uint64 // timestamp that is sent for from
	speed  Speed  // source ticks for each tick that is sent, in quarters
	source bool   // a new source begins with it: see Start
}

// at returns what is sent for ts. For what is older than the segment, the speed is Live.
func (s *segment) at(ts uint64) uint64 {
	ticks := ts - s.from
	if s.speed <= Live || int64(ticks) < 0 {
		return s.as + ticks
	}
	speed := uint64(s.speed)
	return s.as + ticks/speed*uint64(Live) + ticks%speed*uint64(Live)/speed
}

// A Timeline is the timestamps of one receiver. Timestamps are extended to 64 bits,
// and may be any number. For each source the map is monotone: a later timestamp is
// never sent as an earlier one, if none of Start and Rebase goes back. What was sent
// for a timestamp does not change. The zero value is ready for Start. It is not safe
// for concurrent use. It allocates for its first segments: most receivers need few.
type Timeline struct {
	newest segment
	n      uint32    // segments so far
	first  uint32    // number of the present source's first segment
	oldest uint32    // number of the oldest segment that is kept
	past   []segment // by number modulo kept
}

// Start begins a source, whose timestamp ts is sent as as. It returns a number by
// which [Timeline.Sent] finds the source later.
func (t *Timeline) Start(ts, as uint64) (source uint32) {
	t.push(segment{from: ts, as: as, speed: Live, source: true})
	t.first = t.n - 1
	return t.first
}

// Accelerate has the sent timestamps advance as media does that is sent with a speed above
// Live, from the source's timestamp from on. Nothing later than from has been sent yet.
func (t *Timeline) Accelerate(from uint64, speed Speed) { t.setSpeed(from, speed) }

// Resume has the sent timestamps advance with the source's again, from its timestamp
// from on. Nothing later than from has been sent yet.
func (t *Timeline) Resume(from uint64) { t.setSpeed(from, Live) }

// Rebase has the source's timestamp from be sent as as, and those after it advance
// from there. Nothing has been sent yet that is as late as from. What lies between that
// and what was sent is sent at as at the latest.
func (t *Timeline) Rebase(from, as uint64) { t.add(segment{from: from, as: as, speed: Live}) }

// Converge is for a source that has just been started ahead of where it belongs: its
// timestamps advance as after Accelerate until offset is what is added to them, and
// with the source's from then on. It returns the source's timestamp at which that is so,
// the first one if nothing has to change.
func (t *Timeline) Converge(offset uint64, speed Speed) (until uint64) {
	from := t.newest.from
	early := t.newest.as - from - offset
	if int64(early) <= 0 {
		return from
	}
	until = from + early + (early*uint64(Live)-1)/uint64(speed-Live)
	t.Accelerate(from, speed)
	t.Resume(until)
	return until
}

// At returns what is sent for a timestamp of the present source.
func (t *Timeline) At(ts uint64) uint64 {
	if int64(ts-t.newest.from) >= 0 || t.first+1 >= t.n {
		return t.newest.at(ts)
	}
	return t.lookup(max(t.first, t.oldest), ts)
}

// Offset returns what is added to timestamps in the newest segment. It is of use
// only where that does not accelerate.
func (t *Timeline) Offset() uint64 { return t.newest.as - t.newest.from }

// Sent returns what was sent for timestamp ts of a source that Start has numbered;
// false: that is too long ago.
func (t *Timeline) Sent(source uint32, ts uint64) (as uint64, ok bool) {
	if source >= t.n {
		return 0, false
	}
	if source < t.oldest {
		if source != t.first || int64(ts-t.segment(t.oldest).from) < 0 {
			return 0, false
		}
		source = t.oldest
	}
	return t.lookup(source, ts), true
}

// lookup goes from segment i on to the one that ts belongs to.
func (t *Timeline) lookup(i uint32, ts uint64) uint64 {
	s := t.segment(i)
	for i++; i != t.n; i++ {
		next := t.segment(i)
		if next.source {
			break
		}
		if int64(ts-next.from) < 0 {
			return earlier(s.at(ts), next.as)
		}
		s = next
	}
	return s.at(ts)
}

func earlier(a, b uint64) uint64 {
	if int64(a-b) < 0 {
		return a
	}
	return b
}

func (t *Timeline) segment(i uint32) *segment {
	if i == t.n-1 {
		return &t.newest
	}
	return &t.past[i%kept]
}

// setSpeed changes the speed at from.
func (t *Timeline) setSpeed(from uint64, speed Speed) {
	t.dropAfter(from)
	if int64(from-t.newest.from) < 0 {
		from = t.newest.from // a source begins with its first timestamp
	}
	t.add(segment{from: from, as: t.newest.at(from), speed: speed})
}

// add appends a segment of the present source.
func (t *Timeline) add(s segment) {
	t.dropAfter(s.from)
	for t.isPlanned() && int64(t.newest.as-s.as) > 0 {
		t.drop()
	}
	if t.newest.from == s.from && t.newest.as == s.as {
		t.newest.speed = s.speed
		return
	}
	t.push(s)
}

// dropAfter drops the segments that begin later than from, which nothing was sent in.
func (t *Timeline) dropAfter(from uint64) {
	for t.isPlanned() && int64(t.newest.from-from) > 0 {
		t.drop()
	}
}

// isPlanned reports whether the newest segment can be dropped. A source's first segment
// was sent with certainty.
func (t *Timeline) isPlanned() bool { return t.n > 0 && t.n-1 != t.first && t.n-1 != t.oldest }

func (t *Timeline) drop() {
	t.n--
	t.newest = t.past[(t.n-1)%kept]
}

func (t *Timeline) push(s segment) {
	if t.n > 0 {
		t.keep((t.n-1)%kept, t.newest)
	}
	t.newest = s
	t.n++
	if t.n > kept+1 {
		t.oldest = max(t.oldest, t.n-1-kept)
	}
}

// keep keeps a segment at its place, which is at most one behind those that are taken.
func (t *Timeline) keep(place uint32, s segment) {
	if int(place) == len(t.past) {
		t.past = append(t.past, s)
	} else {
		t.past[place] = s
	}
}
