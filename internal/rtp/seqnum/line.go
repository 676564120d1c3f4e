package seqnum

import "time"

// LineConfig says what is known of a stream whose numbers are followed.
type LineConfig struct {
	Rate uint32 // RTP timestamp units a second; required
	// Back is by how much a packet that is in order may be older than the one
	// before it: the frames of an encoder with B-frames are. An audio encoder
	// has none.
	Back time.Duration
	// Ahead is by how much timestamps may advance faster than time passes, as
	// they do when a sender catches up. If zero, 1 s.
	Ahead time.Duration
}

// A Step says how a packet follows those that came before it.
type Step uint8

// The steps.
const (
	// Follows: the packet is in order, or late, or a duplicate.
	Follows Step = iota
	// Jumps: the sender has begun a new numbering. It was reset, or restarted
	// behind one session.
	Jumps
	// Suspect: the packet may be the first of a new numbering. The next one
	// tells, and until then the caller keeps a copy, in place of an earlier one.
	Suspect
	// Stale: the packet belongs to the numbering ahead of the last jump, or is
	// too old to tell.
	Stale
)

// A Jump says what is known of a new numbering.
type Jump struct {
	Time bool // the timestamps jumped, and not only the numbers
	Gap  bool // packets may be missing in between
	Held bool // it begins with the packet of which the last Suspect told
}

const (
	// lateWindow is how many numbers behind the highest a packet is merely late.
	lateWindow = 2048
	// smallStep is by how much a timestamp may always advance.
	smallStep = time.Second
	// staleAge is how old a packet may be that is more than lateWindow behind.
	staleAge = 30 * time.Second
	// silentAfter is how long the present numbering has to be silent for packets
	// that could just be late to be taken for a new one, and probation over how long
	// they have to come, and how many.
	silentAfter    = 500 * time.Millisecond
	probation      = 200 * time.Millisecond
	probationCount = 5
	// fewLost is how many packets may be lost at any time, besides two of the largest
	// frames, and lossFactor how many times as many as usually come in the time that
	// has passed.
	fewLost    = 64
	lossFactor = 4
	// chain is how many numbers the second packet of a new numbering may be ahead
	// of the first one.
	chain = 16
	// forgetAfter is how long a suspect, and a numbering that was left, are known.
	forgetAfter = 5 * time.Second
)

// A Line follows the numbers and timestamps of one RTP stream, extends both to 64
// bits, and finds where the sender has begun anew. It decides by the time that has
// passed: timestamps advance with time, or stand still while the sender is muted,
// and packets get lost at the rate at which they come. What is only late, or comes
// after a long pause, is no jump.
//
// Extended numbers only grow: after a jump they go on at least one cycle above
// all that came before it. A Line is not safe for concurrent use.
type Line struct {
	config  LineConfig
	started bool
	now     mark // of the packet with the highest number
	newest  uint64
	seq     Seq
	before  mark      // of the numbering ahead of the last jump
	left    time.Time // when that was left; zero: never
	suspect suspect
	skipped uint64 // numbers that jumps left out
	rate    packetRate
	frame   uint64 // packets of the present frame, by its timestamp
	largest uint64 // frame
}

// A mark is a packet that others are compared with.
type mark struct {
	seq, ts uint64
	at      time.Time // arrival
}

// A suspect is what may be a new numbering.
type suspect struct {
	mark              // of its last packet; number and timestamp are not extended
	first        mark // likewise
	n            int  // packets; 0: there is none
	jump         Jump // what it is if it is confirmed
	afterSilence bool // only once the present numbering is silent
}

// NewLine returns a Line that has seen no packet.
func NewLine(c LineConfig) *Line {
	if c.Ahead <= 0 {
		c.Ahead = time.Second
	}
	return &Line{config: c}
}

// Step takes note of a packet that arrives at now, and says how it follows. The
// jump is meaningful with [Jumps] only.
func (l *Line) Step(now time.Time, seq uint16, ts uint32) (Step, Jump) {
	if !l.started {
		l.started = true
		l.now = mark{seq: l.seq.Unwrap(seq), ts: 1<<32 | uint64(ts), at: now}
		l.newest = l.now.ts
		l.rate.add(now)
		return Follows, Jump{}
	}
	ahead := int64(NearSeq(l.now.seq, seq) - l.now.seq)
	if ahead <= 0 {
		return l.behind(now, seq, ts, uint64(-ahead))
	}
	lost, fits := l.canLose(now, uint64(ahead-1)), l.fits(l.now, now, ts)
	switch {
	case ahead > 1 && l.since(l.newest, ts) < 0 && l.isBefore(now, seq, ts):
		return Stale, Jump{}
	case lost && fits:
		l.advance(now, seq, ts)
		return Follows, Jump{}
	case l.isBefore(now, seq, ts):
		return Stale, Jump{}
	case lost: // the number vouches for the packet
		l.leave(now)
		l.suspect = suspect{}
		l.begin(mark{seq: l.seq.Unwrap(seq), ts: anew(l.newest, ts), at: now})
		return Jumps, Jump{Time: true, Gap: ahead > 1}
	}
	return l.unexpected(now, seq, ts, Jump{Time: !fits, Gap: !fits, Held: true}, false)
}

// behind takes a packet whose number is not above the highest.
func (l *Line) behind(now time.Time, seq uint16, ts uint32, by uint64) (Step, Jump) {
	newer := l.since(l.newest, ts)
	late := newer <= 0 && -newer <= staleAge && (by < lateWindow || l.comeIn(-newer, by))
	fits := newer > 0 && l.fits(l.now, now, ts)
	switch {
	case late && by < lateWindow && now.Sub(l.now.at) < silentAfter:
		return Follows, Jump{}
	case late && by < lateWindow:
		return l.passOn(now, seq, ts, true)
	case l.isBefore(now, seq, ts):
		return Stale, Jump{}
	case by < lateWindow && fits && newer <= l.config.Back:
		return l.passOn(now, seq, ts, false) // it may be of an encoder with B-frames
	}
	return l.unexpected(now, seq, ts, Jump{Time: !fits, Gap: !fits, Held: true}, late)
}

// passOn takes a packet that is late, or the first of a new numbering. It is not held
// back, but others that follow it may tell.
func (l *Line) passOn(now time.Time, seq uint16, ts uint32, afterSilence bool) (Step, Jump) {
	if step, jump := l.unexpected(now, seq, ts, Jump{Time: afterSilence, Gap: true}, afterSilence); step == Jumps {
		return step, jump
	}
	return Follows, Jump{}
}

// unexpected takes a packet that does not belong to the present numbering. A second
// one that follows it shows that there is a new one. With afterSilence, the present one
// has to be silent for that.
func (l *Line) unexpected(now time.Time, seq uint16, ts uint32, j Jump, afterSilence bool) (Step, Jump) {
	s, m := &l.suspect, mark{seq: uint64(seq), ts: uint64(ts), at: now}
	if !l.follows(s, m) {
		*s = suspect{mark: m, first: m, n: 1, jump: j, afterSilence: afterSilence}
		return Suspect, Jump{}
	}
	s.n++
	s.mark = m
	if s.afterSilence && (now.Sub(l.now.at) < silentAfter || now.Sub(s.first.at) < probation || s.n < probationCount) {
		return Stale, Jump{}
	}
	was := *s
	*s = suspect{}
	l.leave(now)
	if was.jump.Held {
		l.restart(was.first, was.jump.Time)
		l.advance(now, seq, ts)
	} else {
		l.restart(m, was.jump.Time)
	}
	return Jumps, was.jump
}

// follows reports whether a packet follows those of a suspect.
func (l *Line) follows(s *suspect, m mark) bool {
	step := uint16(m.seq) - uint16(s.seq)
	known := s.n > 0 && m.at.Sub(s.at) <= max(forgetAfter, 2*m.at.Sub(l.now.at))
	if !s.jump.Held && !s.afterSilence && m.ts == s.ts {
		return false // it is of the same late frame
	}
	return known && step > 0 && step <= chain && l.fits(s.mark, m.at, uint32(m.ts))
}

// restart begins a new numbering at a mark that is not extended.
func (l *Line) restart(first mark, newTime bool) {
	next := l.seq.restart(uint16(first.seq))
	l.skipped += next - l.now.seq - 1
	ts := NearTime(l.now.ts, uint32(first.ts))
	if newTime {
		ts = anew(l.newest, uint32(first.ts))
	}
	l.begin(mark{seq: next, ts: ts, at: first.at})
}

// begin goes on from m, the first packet of a new numbering.
func (l *Line) begin(m mark) {
	if l.frame++; m.ts != l.now.ts {
		l.frame = 1
	}
	l.largest = max(l.largest, l.frame)
	l.now = m
	if int64(m.ts-l.newest) > 0 {
		l.newest = m.ts
	}
	l.rate.add(m.at)
}

// leave notes that the present numbering is over.
func (l *Line) leave(now time.Time) { l.before, l.left = l.now, now }

// isBefore reports whether a packet is a late one of the numbering that was left.
func (l *Line) isBefore(now time.Time, seq uint16, ts uint32) bool {
	if l.left.IsZero() || now.Sub(l.left) > forgetAfter {
		return false
	}
	by := int64(l.before.seq - NearSeq(l.before.seq, seq))
	age := -l.since(l.before.ts, ts)
	return by >= 0 && by < lateWindow && age >= 0 && age <= staleAge
}

func (l *Line) advance(now time.Time, seq uint16, ts uint32) {
	l.begin(mark{seq: l.seq.Unwrap(seq), ts: l.extend(now, ts), at: now})
}

// fits reports whether ts may follow the packet m at now: it is near, or has
// advanced by no more than the time that has passed.
func (l *Line) fits(m mark, now time.Time, ts uint32) bool {
	step := l.since(m.ts, ts)
	passed := now.Sub(m.at)
	if step >= -l.config.Back && step <= smallStep {
		return true
	}
	slack := l.config.Ahead + passed/50
	if passed < l.half() {
		return step > 0 && step <= passed+slack
	}
	return l.since(m.ts+l.ticks(passed), ts).Abs() <= slack
}

// canLose reports whether so many packets may have been lost on the way.
func (l *Line) canLose(now time.Time, n uint64) bool {
	return n <= 2*l.largest || l.comeIn(max(now.Sub(l.now.at), 50*time.Millisecond), n)
}

// comeIn reports whether so many packets may come in a time.
func (l *Line) comeIn(d time.Duration, n uint64) bool {
	return n <= fewLost+uint64(lossFactor*l.rate.of()*d.Seconds())
}

// Extend returns the extended number and timestamp of a packet after [Line.Step].
func (l *Line) Extend(seq uint16, ts uint32) (uint64, uint64) {
	return NearSeq(l.now.seq, seq), NearTime(l.now.ts, ts)
}

// extend returns the extended timestamp of a packet in order. After a pause of
// more than half a cycle, time tells which cycle it is in.
func (l *Line) extend(now time.Time, ts uint32) uint64 {
	near := NearTime(l.now.ts, ts)
	passed := now.Sub(l.now.at)
	if passed < l.half() || l.duration(int64(near-l.now.ts)).Abs() <= smallStep {
		return near
	}
	return NearTime(l.now.ts+l.ticks(passed), ts)
}

// Expected returns how many packets have been sent since the first one, as far as
// their numbers tell.
func (l *Line) Expected(first uint64) uint64 { return l.now.seq - first + 1 - l.skipped }

// half is how long the timestamp takes for half a cycle.
func (l *Line) half() time.Duration { return l.duration(1 << 31) }

// since returns how much newer ts is than the extended timestamp ref.
func (l *Line) since(ref uint64, ts uint32) time.Duration {
	return l.duration(int64(int32(ts - uint32(ref))))
}

func (l *Line) duration(ticks int64) time.Duration {
	rate := int64(l.config.Rate)
	return time.Duration(ticks/rate)*time.Second + time.Duration(ticks%rate*int64(time.Second)/rate)
}

func (l *Line) ticks(d time.Duration) uint64 {
	return uint64(int64(d/time.Second)*int64(l.config.Rate) + int64(d%time.Second)*int64(l.config.Rate)/int64(time.Second))
}

// anew returns an extended timestamp for ts that is above all up to newest.
func anew(newest uint64, ts uint32) uint64 { return (newest>>32+2)<<32 | uint64(ts) }

// packetRate measures how many packets come a second, pauses aside.
type packetRate struct {
	began, last time.Time // packets of the window
	count       float64
	rate        float64 // of the last whole window
}

const rateWindow = time.Second

func (r *packetRate) add(now time.Time) {
	if now.Sub(r.began) >= rateWindow {
		if !r.began.IsZero() {
			r.rate = r.present()
		}
		r.began, r.count = now, 0
	}
	r.count++
	r.last = now
}

// present is the rate in the window so far.
func (r *packetRate) present() float64 {
	return r.count / max(r.last.Sub(r.began), rateWindow/4).Seconds()
}

func (r *packetRate) of() float64 { return max(r.rate, r.present()) }
