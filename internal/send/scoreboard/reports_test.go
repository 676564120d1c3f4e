package scoreboard

import (
	"slices"
	"time"

	"github.com/deltacdn/delta/internal/send/bwe"
	"github.com/deltacdn/delta/internal/send/bwe/bwetest"
)

const (
	firstFeedback = 100 * time.Millisecond
	leastFeedback = 50 * time.Millisecond
	mostFeedback  = 250 * time.Millisecond
	feedbackShare = 0.05
	feedbackSize  = 68 // bytes, as browsers assume
)

// transport collects transport-wide feedback.
type transport struct {
	known    bool
	last     int // the highest number so far, extended
	next     int // behind the last that was reported
	arrivals []bwetest.Arrival
	bytes    int
	count    uint8
}

func (t *transport) add(wide uint16, at time.Duration) {
	ext := int(wide)
	if t.known {
		ext = t.last + int(int16(wide-uint16(t.last)))
	} else {
		t.known, t.last, t.next = true, ext, ext
	}
	t.last = max(t.last, ext)
	t.arrivals = append(t.arrivals, bwetest.Arrival{Number: ext, At: at})
	t.bytes += payloadSize
}

// feed sends feedback and waits for the next, as long as makes it a twentieth of what
// arrives.
func (r *receiver) feed() {
	t := &r.feedback
	rate := float64(t.bytes*8) / 0.1
	t.bytes = 0
	wait := mostFeedback
	if rate > 0 {
		wait = time.Duration(feedbackSize * 8 / (feedbackShare * rate) * float64(time.Second))
		wait = min(max(wait, leastFeedback), mostFeedback)
	}
	for _, p := range t.take() {
		r.tell(func() {
			if err := r.from.estimator.Feedback(r.clock(), p); err != nil {
				panic(err)
			}
			r.from.look()
		})
	}
	r.after(wait, r.feed)
}

// take returns the messages about what has arrived.
func (t *transport) take() (messages [][]byte) {
	if len(t.arrivals) == 0 {
		return nil
	}
	slices.SortStableFunc(t.arrivals, func(a, b bwetest.Arrival) int { return a.Number - b.Number })
	first := min(t.next, t.arrivals[0].Number)
	if t.arrivals[0].Number-first > 1000 {
		first = t.arrivals[0].Number
	}
	messages = append(messages, bwetest.Feedback(t.count, first, t.arrivals))
	t.count++
	t.next = max(t.next, t.arrivals[len(t.arrivals)-1].Number+1)
	t.arrivals = t.arrivals[:0]
	return messages
}

// remote is the estimate that a viewer makes by itself, from when packets say that
// they were sent. It is the same estimator, that sees nothing but arrivals. Its clock is the
// departure of the newest packet that has arrived: what is still on its way counts neither
// as sent nor as arrived.
type remote struct {
	*receiver
	estimator *bwe.Estimator
	departed  time.Duration // when the newest packet did
	seq       uint16
	count     uint8
	arrivals  []bwetest.Arrival
	told      float64
	toldAt    time.Duration
}

const remoteEvery = 50 * time.Millisecond

func (m *remote) init(r *receiver) {
	m.receiver = r
	m.estimator = bwe.New(bwe.Config{TransportFeedback: true}, r.clock())
	m.estimator.Wake(r.clock())
	r.every(remoteEvery, m.update)
}

func (m *remote) add(p packet, at time.Duration) {
	m.departed = max(m.departed, p.sent)
	m.estimator.Sent(m.seq, epoch.Add(p.sent), p.size, 0)
	m.arrivals = append(m.arrivals, bwetest.Arrival{Number: int(m.seq), At: at})
	m.seq++
}

// update sends an estimate at once if it has fallen, and otherwise now and then.
func (m *remote) update() {
	if len(m.arrivals) == 0 {
		return
	}
	for i := range m.arrivals { // the numbers may have wrapped on the way
		m.arrivals[i].Number = m.arrivals[0].Number + int(uint16(m.arrivals[i].Number-m.arrivals[0].Number))
	}
	at := epoch.Add(m.departed)
	if err := m.estimator.Feedback(at, bwetest.Feedback(m.count, m.arrivals[0].Number, m.arrivals)); err != nil {
		panic(err)
	}
	m.count++
	m.arrivals = m.arrivals[:0]
	rate := m.estimator.State(at).Bitrate
	if rate > 0.97*m.told && m.now-m.toldAt < rembEvery {
		return
	}
	m.told, m.toldAt = rate, m.now
	m.tell(func() {
		m.from.estimator.Estimate(m.clock(), rate)
		if m.from.estimator.EstimateFell() && m.from.dozes {
			m.from.tellTime()
		}
		m.from.look()
	})
}
