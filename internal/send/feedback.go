package send

import (
	"sync"
	"time"

	"github.com/pion/rtcp"

	"github.com/deltacdn/delta/internal/feedback"
	"github.com/deltacdn/delta/internal/slow"
)

// Hear takes a compound packet of the receiver's feedback, about any of the
// senders, and keeps nothing of it. It reports whether the session is to be ended
// as too slow: see [slow.Breaker]. It does not wait for Consume, which may take as
// long as the socket does: while that runs, the feedback is left to it.
func (s *Set) Hear(now time.Time, compound []byte) (giveUp bool) {
	if !s.mu.TryLock() {
		if s.inbox.put(compound) {
			return false
		}
		s.mu.Lock() // whoever has it gives it back at once
	}
	return s.hearAndUnlock(now, compound, s.senders)
}

// Take is Hear for those who have read the packets, and may wait.
func (s *Set) Take(now time.Time, packets []rtcp.Packet) (giveUp bool) {
	s.mu.Lock()
	senders := s.senders // Add only appends to it
	s.mu.Unlock()
	return s.take(now, marshal(packets), senders)
}

func (s *Set) take(now time.Time, compound []byte, senders []*Sender) (giveUp bool) {
	s.mu.Lock()
	return s.hearAndUnlock(now, compound, senders)
}

// marshal writes those of the packets that can be written.
func marshal(packets []rtcp.Packet) (compound []byte) {
	for _, p := range packets {
		if raw, err := p.Marshal(); err == nil {
			compound = append(compound, raw...)
		}
	}
	return compound
}

// judgeEvery is how often a receiver that sends no feedback is checked for
// slowness.
const judgeEvery = time.Second

// A measure against a slow viewer.
type measure struct {
	layer  string
	paused bool
}

func (s *Set) hearAndUnlock(now time.Time, compound []byte, senders []*Sender) (giveUp bool) {
	var taken []measure // hardly ever any
	// While nothing is sent there is nothing to judge, in memory that is not at hand.
	if s.hear(now, compound, senders) || now.Sub(s.judged) >= judgeEvery && !s.Idle(now) {
		s.judged = now
		for _, snd := range senders {
			if snd.judge(now) == slow.Down {
				taken = append(taken, snd.measure())
			}
		}
	}
	giveUp = s.breaker.Tripped()
	s.mu.Unlock()
	if tell := s.config.OnSlow; tell != nil {
		for _, m := range taken {
			tell(m.layer, m.paused)
		}
	}
	return giveUp
}

// hear gives the senders what is about them, and reports whether anything is.
func (s *Set) hear(now time.Time, compound []byte, senders []*Sender) (concerned bool) {
	if s.calm {
		s.calm = false
		for _, snd := range s.senders {
			snd.account(now)
		}
	}
	r := feedback.Read(compound)
	for m, ok := r.Next(); ok; m, ok = r.Next() {
		for _, snd := range senders {
			concerned = snd.take(now, &m) || concerned
		}
	}
	return concerned
}

// measure is what was done last.
func (s *Sender) measure() measure {
	if s.next != nil {
		return measure{s.next.Name(), s.waiting}
	}
	return measure{s.layer.Name(), s.waiting}
}

// An inbox holds what is said while Consume runs.
type inbox struct {
	mu       sync.Mutex
	runs     bool // Consume
	compound []byte
}

// maxInbox bounds it: what is beyond is lost, as on the way, and said again.
const maxInbox = 4 << 10

// open says that Consume runs, with the set's lock.
func (i *inbox) open() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.runs = true
}

// put leaves what is said to Consume, false: that does not run.
func (i *inbox) put(compound []byte) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.runs && len(i.compound)+len(compound) <= maxInbox {
		i.compound = append(i.compound, compound...)
	}
	return i.runs
}

// close returns what was put, or nil if nothing was: then it is closed.
func (i *inbox) close() []byte {
	i.mu.Lock()
	defer i.mu.Unlock()
	compound := i.compound
	i.compound, i.runs = nil, compound != nil
	return compound
}

// consumed is the end of Consume: what was said meanwhile is taken, and answered
// in its batch. The next that says something hears what comes of it.
func (s *Set) consumed(now time.Time) {
	for said := s.inbox.close(); said != nil; said = s.inbox.close() {
		s.hear(now, said, s.senders)
	}
	if at := s.sentAt.UnixNano(); !s.sentAt.IsZero() && at != s.idle.Load() {
		s.idle.Store(at)
	}
}

// idleAfter is how long nothing has to be sent until that is no pause between
// two packets.
const idleAfter = time.Second

// Idle reports whether nothing is being sent. It takes no lock.
func (s *Set) Idle(now time.Time) bool {
	return now.Sub(time.Unix(0, s.idle.Load())) > idleAfter
}
