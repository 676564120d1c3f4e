package send

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/deltacdn/delta/internal/rtp/feedback"
	"github.com/deltacdn/delta/internal/send/budget"
	"github.com/deltacdn/delta/internal/send/bwe"
)

// A Trunk is the path from one node to another, which all streams between them share. It
// numbers the packets of their sets in one sequence (transport-wide) while it is awake, and
// estimates what the path carries by what the other node reports. It chooses nothing: who
// has made it asks for its state, and bounds the sets ([Set.Bound]).
//
// Its methods may be called concurrently. Its lock comes after a set's.
type Trunk struct {
	awake          atomic.Bool   // packets are numbered
	packets, bytes atomic.Uint64 // sent

	mu        sync.Mutex
	estimator *bwe.Estimator
	latest    time.Time // that it was told of
	last      uint16    // transport-wide sequence number
	answered  uint32    // the last probe whose result has been urgent
	told      flow      // what the estimator has heard of what was sent without numbers
	reports   trunkReports
	probe     trunkProbe
}

// trunkReports are the report blocks of one compound packet, taken together: the estimator
// knows a few streams, and a link has many.
type trunkReports struct {
	highest  map[uint32]uint32 // by SSRC: the extended sequence number received last
	all      uint32            // packets expected, ever
	expected uint32            // in this compound
	lost     float64
}

// trunkProbe is the probe that is under way.
type trunkProbe struct {
	plan  bwe.Probe // zero: there is none
	began time.Time
	sent  int  // bytes of all packets since then
	by    *Set // repeats packets of its own for it
}

// mostTrunkPadding is how many packets of padding are sent at once: for the next step of a
// trunk that carries gigabits.
const mostTrunkPadding = 1024

// trunkHeaders is about what a packet on a trunk has of headers and SRTP's tag.
const trunkHeaders = mostHeaders

// NewTrunk returns a trunk that dozes.
func NewTrunk(now time.Time) *Trunk {
	return &Trunk{
		estimator: bwe.New(bwe.Config{Start: unlimited, TransportFeedback: true}, now),
		reports:   trunkReports{highest: make(map[uint32]uint32)},
	}
}

// moment returns a time for the estimator, whose times must not go back: the sets of a
// trunk are served by several workers. The caller has the lock.
func (t *Trunk) moment(now time.Time) time.Time {
	if now.After(t.latest) {
		t.latest = now
	}
	return t.latest
}

// number gives a packet, whose payload has size bytes and which is about to be sent, its
// transport-wide sequence number.
func (t *Trunk) number(now time.Time, size int, what bwe.Flag) uint16 {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last++
	size += trunkHeaders
	t.estimator.Sent(t.last, t.moment(now), size, what)
	t.probe.sent += size
	return t.last
}

// tellSent tells the estimator of what was sent without numbers. The caller has the lock.
func (t *Trunk) tellSent(now time.Time) {
	packets, bytes := t.packets.Load(), t.bytes.Load()
	n, size := int(packets-t.told.packets), int(bytes-t.told.bytes)
	t.told = flow{packets, bytes}
	if n > 0 && !t.awake.Load() {
		t.estimator.SentPlain(now, n, size+n*lowerHeaders)
	}
}

// Sent counts a packet of n bytes that was sent, numbered or not.
func (t *Trunk) Sent(n int) {
	t.packets.Add(1)
	t.bytes.Add(uint64(n))
}

// Bytes returns how many bytes were sent.
func (t *Trunk) Bytes() uint64 { return t.bytes.Load() }

// Feedback takes transport-wide feedback, an RTCP packet. It reports whether somebody has to
// act at once: the path is congested, or a probe is answered.
func (t *Trunk) Feedback(now time.Time, packet []byte) (urgent bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now = t.moment(now)
	if t.estimator.Feedback(now, packet) != nil {
		return false // it is malformed
	}
	state := t.estimator.State(now)
	if state.Probe.Done && state.Probe.ID != t.answered {
		t.answered = state.Probe.ID
		return true
	}
	return state.Verdict == bwe.Overuse
}

// report takes a report block.
func (t *Trunk) report(m *feedback.Message) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	r := &t.reports
	before, known := r.highest[m.SSRC]
	r.highest[m.SSRC] = m.Highest
	if n := m.Highest - before; known && n < 1<<15 {
		r.expected += n
		r.lost += float64(n) * float64(m.Lost) / 256
	}
}

// Reported says that a compound packet with report blocks has been handled. rtt is the round
// trip to the other node; 0: unknown.
func (t *Trunk) Reported(now time.Time, rtt time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now = t.moment(now)
	t.tellSent(now)
	r := &t.reports
	r.all += r.expected
	lost := uint8(0)
	if r.expected > 0 {
		lost = uint8(min(256*r.lost/float64(r.expected), 255))
	}
	r.expected, r.lost = 0, 0
	t.estimator.Report(now, bwe.Report{SSRC: 1, Lost: lost, Highest: r.all, RoundTrip: rtt})
}

// Complains reports whether somebody has to act at once, since reports and NACKs say that
// something is wrong, and the trunk dozes.
func (t *Trunk) Complains(now time.Time) bool {
	if t.awake.Load() {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	now = t.moment(now)
	t.tellSent(now)
	return t.estimator.State(now).Trouble
}

// Forget says that streams are no more.
func (t *Trunk) Forget(ssrcs []uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, ssrc := range ssrcs {
		delete(t.reports.highest, ssrc)
	}
}

// nack tells of packets that the other node misses.
func (t *Trunk) nack(missing feedback.Missing) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.estimator.Nack(missing.Count())
}

// State returns what is known of the path now.
func (t *Trunk) State(now time.Time) bwe.State {
	t.mu.Lock()
	defer t.mu.Unlock()
	now = t.moment(now)
	t.tellSent(now)
	return t.estimator.State(now)
}

// Wake has packets numbered. A set begins with that once [Set.Kick] is called.
func (t *Trunk) Wake(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now = t.moment(now)
	t.tellSent(now)
	t.estimator.Wake(now)
	t.awake.Store(true)
}

// Kick has a set notice that its trunk wakes. It would within checkEvery.
func (s *Set) Kick() {
	s.change()
	s.mu.Unlock()
}

// Doze stops numbering and frees the estimator's memory.
func (t *Trunk) Doze() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.estimator.Doze()
	t.awake.Store(false)
	t.probe = trunkProbe{}
}

// Awake reports whether packets are numbered.
func (t *Trunk) Awake() bool { return t != nil && t.awake.Load() }

// share returns the part of the path that a set may fill with a burst, which sends so many
// bits a second on average: other sets have bursts at the same time. Of a set whose streams are
// silent it is not known what they send when they go on: it may fill all.
func (t *Trunk) share(now time.Time, sends float64) float64 {
	if sends <= 0 {
		return 1
	}
	return min(1, sends/max(t.State(now).Sent, 1))
}

// rate returns what the path carries while the trunk is awake, in bits a second; 0: it is
// not known.
func (t *Trunk) rate(now time.Time) float64 {
	if !t.Awake() {
		return 0
	}
	state := t.State(now)
	if state.Source != bwe.TransportFeedback {
		return 0
	}
	return max(state.Bitrate, state.Acknowledged)
}

// repairedPart is which part of what a set sends it may repair though there is no room by the
// estimate: that of a path that loses much is low.
const repairedPart = 0.25

// trunkRoom is repairRoom of a set that sends by a trunk.
func (s *Set) trunkRoom(now time.Time) float64 {
	t := s.config.Trunk
	if !t.Awake() {
		return budget.Unknown
	}
	state := t.State(now)
	known, congested := state.Bitrate < unlimited, state.Verdict == bwe.Overuse
	room := (max(state.Bitrate, state.Acknowledged) - state.Sent) / 8
	switch {
	case !known && !congested && state.Source == bwe.TransportFeedback: // it loses, and not because of the rate
		return budget.Unknown
	case known && (congested || room > 0):
		return room
	}
	room = 0
	for _, snd := range s.senders {
		repairs := snd.repairs.budget.Repairs(now)
		room += repairedPart*(snd.repairs.budget.Rate(now)-repairs) - repairs
	}
	return room
}

// StartProbe begins a probe, for which a set repeats packets.
func (t *Trunk) StartProbe(now time.Time, plan bwe.Probe, by *Set) {
	t.mu.Lock()
	now = t.moment(now)
	t.estimator.StartProbe(now, plan)
	t.probe = trunkProbe{plan: plan, began: now, by: by}
	t.mu.Unlock()
	by.change() // it is not steady any more
	by.wakeAt(now)
	by.mu.Unlock()
}

// owes reports whether a set has to send more padding for the probe that is under way.
func (t *Trunk) owes(now time.Time, by *Set) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := &t.probe
	if p.by != by {
		return false
	}
	elapsed := now.Sub(p.began)
	if elapsed > p.plan.Duration {
		*p = trunkProbe{}
		return false
	}
	return float64(p.sent) < p.plan.Rate/8*(elapsed+padEvery).Seconds()
}

// probes reports whether a set repeats packets for a probe that is under way.
func (t *Trunk) probes(by *Set) bool {
	if !t.Awake() {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.probe.by == by
}

// padTrunk repeats packets, if the trunk is probed with them.
func (s *Set) padTrunk(now time.Time) {
	t := s.config.Trunk
	if !t.Awake() {
		return
	}
	by := s.padder()
	for i, owed := 0, t.owes(now, s); i < mostTrunkPadding && owed && by != nil && by.repeat(now); i++ {
		owed = t.owes(now, s)
	}
}

// CanPad reports whether the set has packets that it can repeat for a probe.
func (s *Set) CanPad() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.closed && s.padder() != nil
}
