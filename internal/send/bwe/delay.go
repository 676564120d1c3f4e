package bwe

import "time"

// The constants of the trend, those of draft-ietf-rmcat-gcc-02 section 5 and of
// libwebrtc's trend line.
const (
	groupSpan    = 5 * time.Millisecond
	trendGroups  = 20
	trendGain    = 4
	trendCount   = 60
	smoothing    = 0.9
	firstLimit   = 12.5
	leastLimit   = 6
	mostLimit    = 600
	limitRises   = 0.0087
	limitFalls   = 0.039
	limitOutlier = 15
)

// The queue that stands is the least delay over the last two slots, above the least
// delay of half a minute. A burst's own queue, and jitter, do not reach it.
const (
	queueSlot    = 80 * time.Millisecond
	baseSpan     = 15 * time.Second
	standsAbove  = 60 * time.Millisecond // congestion, if it does not fall
	growsAbove   = 50 * time.Millisecond // congestion, if the trend says so
	acceptsAfter = 6 * time.Second       // then the queue is another's
	longestQueue = 3 * time.Second       // more is no queue
)

// delay follows the one-way delay of packets. Its unit is the microsecond: clocks of
// sender and receiver differ by any amount.
type delay struct {
	known     bool
	base, old int64 // least delay of the present, and of the last, baseSpan
	baseSince time.Duration
	group     group
	trend     trend
	slots     slots
	stood     time.Duration // until when no queue stood
	noise     noise
}

// A group is packets sent within groupSpan.
type group struct {
	begun time.Duration // when its first packet was sent
	at    time.Duration // when its fastest packet arrived
	delay int64
	used  bool
}

func (d *delay) init() {
	*d = delay{}
	d.trend.limit = firstLimit
}

// arrived takes a packet by when it was sent and when it arrived, on two clocks.
func (d *delay) arrived(sent, arrival time.Duration) {
	took := int64((arrival - sent) / time.Microsecond)
	if !d.known {
		d.known, d.base, d.old, d.baseSince = true, took, took, arrival
		d.slots.reset(arrival)
	}
	if arrival-d.baseSince > baseSpan || arrival < d.baseSince-time.Minute {
		d.old, d.base, d.baseSince = d.base, took, arrival
	}
	d.base = min(d.base, took)
	d.slots.add(arrival, took)
	switch {
	case !d.group.used || sent >= d.group.begun+groupSpan:
		d.close()
		d.group = group{begun: sent, at: arrival, delay: took, used: true}
	case sent >= d.group.begun && took < d.group.delay: // a group counts by its fastest packet; one of an earlier group is ignored
		d.group.at, d.group.delay = arrival, took
	}
}

// begin tells which queue stands already when the first packets have arrived, since the
// round trip is longer than it was. Without that, the queue would count as the path's.
func (d *delay) begin(queue time.Duration) {
	if queue > 0 && queue < longestQueue {
		d.base -= int64(queue / time.Microsecond)
		d.old = d.base
	}
}

func (d *delay) close() {
	if d.group.used {
		d.trend.add(d.group.at, d.group.delay)
	}
}

// least returns the delay without a queue.
func (d *delay) least() int64 { return min(d.base, d.old) }

// standing returns the queue that stands.
func (d *delay) standing() time.Duration {
	if !d.known {
		return 0
	}
	return max(0, time.Duration(d.slots.standing()-d.least())*time.Microsecond)
}

// jitter returns by how much the delay of packets exceeds the least of their time.
func (d *delay) jitter() time.Duration { return time.Duration(d.slots.excess) * time.Microsecond }

// judge returns how the queue develops, after the packets of one message. at is the
// sender's time.
func (d *delay) judge(at time.Duration) (over, under bool) {
	rises, falls := d.trend.judge(at)
	queue := d.standing()
	d.noise.update(at, queue)
	limit := d.noise.level + d.noise.level/2
	stands := queue > max(standsAbove, limit) && !d.slots.falling()
	if !stands || d.stood == 0 {
		d.stood = at
	} else if at-d.stood > acceptsAfter {
		d.base = d.slots.standing() // the path has become longer, or others fill the queue
		d.old, d.stood = d.base, at
	}
	return rises && queue > max(growsAbove, limit) || stands, falls
}

// noise learns how long a queue the path shows without being congested: one that is
// gone again within swing, without that less was sent.
type noise struct {
	level, peak time.Duration
	since       time.Duration // when the present swing began
	at          time.Duration
}

const (
	swing = 600 * time.Millisecond
	fades = 30 * time.Second // in which the level halves
	still = 15 * time.Millisecond
)

func (n *noise) update(at, queue time.Duration) {
	n.level -= time.Duration(float64(n.level) / 2 * float64(at-n.at) / float64(fades))
	n.at = at
	if queue > still {
		n.peak = max(n.peak, queue)
		return
	}
	if n.peak > 0 && at-n.since < swing {
		n.level = max(n.level, n.peak)
	}
	n.peak, n.since = 0, at
}

// slots hold the least delays of the slots of time of late.
type slots struct {
	number int64
	now    int64    // least delay in the present slot
	count  int      // packets in it
	sum    int64    // of their delays
	last   [4]int64 // of the slots before, the newest first
	excess float64  // mean delay above a slot's least, smoothed
	filled int      // of last
}

func (s *slots) reset(arrival time.Duration) {
	*s = slots{number: int64(arrival / queueSlot)}
}

func (s *slots) add(arrival time.Duration, took int64) {
	number := int64(arrival / queueSlot)
	if number > s.number || number < s.number-100 {
		s.next(number)
	}
	if s.count == 0 || took < s.now {
		s.now = took
	}
	s.count++
	s.sum += took
}

// next begins a slot.
func (s *slots) next(number int64) {
	s.number = number
	if s.count == 0 {
		return
	}
	copy(s.last[1:], s.last[:])
	s.last[0] = s.now
	s.excess += (float64(s.sum/int64(s.count)-s.now) - s.excess) / 8
	s.filled = min(s.filled+1, len(s.last))
	s.count, s.sum = 0, 0
}

// standing returns the least delay of the last two slots, or of what there is.
func (s *slots) standing() int64 {
	switch s.filled {
	case 0:
		return s.now
	case 1:
		return s.last[0]
	}
	return min(s.last[0], s.last[1])
}

// falling reports whether the least delay is going down.
func (s *slots) falling() bool {
	const slack = 3000 // microseconds
	if s.filled < len(s.last) {
		return false
	}
	return min(s.last[0], s.last[1]) < min(s.last[2], s.last[3])-slack
}

// A trend is the slope of the delay over the last groups, against a threshold that
// adapts to how much it varies.
type trend struct {
	arrivals [trendGroups]float32 // ms, since origin
	delays   [trendGroups]float32 // ms, smoothed
	next     int
	count    int
	origin   time.Duration
	zero     int64
	smooth   float64
	limit    float64
	judged   time.Duration
	last     float64 // the trend when it was judged last
	above    int     // judgements in a row above the threshold
}

// add takes the delay of a group that arrived at a time.
func (t *trend) add(arrival time.Duration, took int64) {
	const longest = time.Minute // beyond it, float32 has no fractions left
	if t.count == 0 || arrival-t.origin > longest || arrival < t.origin-longest {
		t.restart(arrival, took)
	}
	t.smooth = smoothing*t.smooth + (1-smoothing)*float64(took-t.zero)/1000
	t.arrivals[t.next] = float32(float64((arrival - t.origin).Microseconds()) / 1000)
	t.delays[t.next] = float32(t.smooth)
	t.next = (t.next + 1) % trendGroups
	t.count = min(t.count+1, trendCount)
}

// restart moves the origin, and forgets no slope: what is known is moved along.
func (t *trend) restart(arrival time.Duration, took int64) {
	by := float32(float64((arrival - t.origin).Microseconds()) / 1000)
	if t.count == 0 || arrival < t.origin || arrival-t.origin > 2*time.Minute {
		t.count, t.next, t.smooth, t.zero = 0, 0, 0, took
	}
	for i := range t.arrivals {
		t.arrivals[i] -= by
	}
	t.origin = arrival
}

// slope returns the slope of the line that fits best, in ms per ms.
func (t *trend) slope() float64 {
	if t.count < trendGroups {
		return 0
	}
	var x, y float64
	for i := range trendGroups {
		x += float64(t.arrivals[i])
		y += float64(t.delays[i])
	}
	x, y = x/trendGroups, y/trendGroups
	var over, under float64
	for i := range trendGroups {
		dx := float64(t.arrivals[i]) - x
		over += dx * (float64(t.delays[i]) - y)
		under += dx * dx
	}
	if under == 0 {
		return 0
	}
	return over / under
}

// judge compares the trend with the threshold, and adapts that.
func (t *trend) judge(at time.Duration) (rises, falls bool) {
	slope := t.slope()
	value := slope * float64(t.count) * trendGain
	switch {
	case value > t.limit && slope >= t.last:
		t.above++
	case value <= t.limit:
		t.above = 0
	}
	rises, falls = t.above >= 2 || t.above == 1 && value > 2*t.limit, value < -t.limit
	t.last = slope
	t.adapt(at, value)
	return rises, falls
}

func (t *trend) adapt(at time.Duration, value float64) {
	past := min(at-t.judged, 100*time.Millisecond)
	t.judged = at
	size := max(value, -value)
	if size > t.limit+limitOutlier {
		return
	}
	k := limitRises
	if size < t.limit {
		k = limitFalls
	}
	t.limit += k * (size - t.limit) * float64(past) / float64(time.Millisecond)
	t.limit = min(max(t.limit, leastLimit), mostLimit)
}
