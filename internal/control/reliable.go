package control

import "time"

// sender has the parts that are to arrive, and sends them until they have.
type sender struct {
	next   uint64 // sequence number of the next part
	parts  []*outgoing
	rtt    rtt
	resent uint64
}

// outgoing is a part that has not been acknowledged.
type outgoing struct {
	part
	tries int
	sent  time.Time // last
	due   time.Time // when it is to be sent, again
}

// An unanswered part is sent again after 1.5 round trips, and then ever later.
const (
	leastRepeat = 20 * time.Millisecond
	mostRepeat  = time.Second
	maxDoubling = 3
)

func (s *sender) queue(now time.Time, message []byte) {
	count := max(1, (len(message)+maxPart-1)/maxPart)
	for i := range count {
		s.parts = append(s.parts, &outgoing{due: now, part: part{
			seq: s.next, index: uint64(i), count: uint64(count),
			data: message[i*maxPart : min((i+1)*maxPart, len(message))],
		}})
		s.next++
	}
}

// take returns the next part that is due and has no more than room bytes.
func (s *sender) take(now time.Time, room int) *outgoing {
	for _, o := range s.inFlight() {
		if o.due.After(now) || len(o.data)+40 > room {
			continue
		}
		if o.tries > 0 {
			s.resent++
		}
		wait := s.rtt.smooth * 3 / 2
		wait = min(max(wait, leastRepeat)<<min(o.tries, maxDoubling), mostRepeat)
		o.tries++
		o.sent, o.due = now, now.Add(wait)
		return o
	}
	return nil
}

// inFlight are the parts that the other side can take now.
func (s *sender) inFlight() []*outgoing {
	if len(s.parts) == 0 {
		return nil
	}
	first := s.parts[0].seq
	n := 0
	for n < len(s.parts) && s.parts[n].seq < first+window {
		n++
	}
	return s.parts[:n]
}

func (s *sender) acknowledged(now time.Time, a set) {
	if a.next > s.next {
		return // of what was never sent
	}
	rest := s.parts[:0]
	for _, o := range s.parts {
		if !a.has(o.seq) {
			rest = append(rest, o)
			continue
		}
		if o.tries == 1 { // otherwise it is not known which was answered
			s.rtt.add(now.Sub(o.sent))
		}
	}
	clear(s.parts[len(rest):])
	s.parts = rest
}

func (s *sender) deadline() (next time.Time) {
	for _, o := range s.inFlight() {
		next = earlier(next, o.due)
	}
	return next
}

// rtt is the round trip, smoothed (RFC 6298 section 2).
type rtt struct {
	smooth time.Duration
	known  bool
}

func (r *rtt) add(sample time.Duration) {
	switch {
	case sample < 0:
	case !r.known:
		r.smooth, r.known = sample, true
	default:
		r.smooth += (sample - r.smooth) / 8
	}
}

// receiver puts messages together.
type receiver struct {
	seen    set
	pending map[uint64]*assembly // by the sequence number of the first part
	ack     bool                 // owed
}

// maxPending bounds the messages of which some parts have come.
const maxPending = 32

type assembly struct {
	parts [][]byte
	have  int
}

// take returns the message that a part completes, nil if none. What came before
// is acknowledged again: the acknowledgement may have been lost.
func (r *receiver) take(p part) []byte {
	first := p.seq - p.index
	if p.count > 1 && r.pending[first] == nil && len(r.pending) >= maxPending {
		return nil // not acknowledged, it comes again
	}
	r.ack = true
	if !r.seen.add(p.seq) {
		return nil
	}
	if p.count == 1 {
		return p.data
	}
	a := r.pending[first]
	if a == nil {
		a = &assembly{parts: make([][]byte, p.count)}
		r.pending[first] = a
	}
	if int(p.count) != len(a.parts) || a.parts[p.index] != nil {
		return nil // not of one message
	}
	a.parts[p.index] = append([]byte{}, p.data...)
	if a.have++; a.have < len(a.parts) {
		return nil
	}
	delete(r.pending, first)
	var whole []byte
	for _, data := range a.parts {
		whole = append(whole, data...)
	}
	return whole
}

// earlier returns the earlier of two deadlines, of which zero is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
