package control

import (
	"iter"
	"time"
)

// sender has the parts that are to arrive, and sends them until they have.
type sender struct {
	next   uint64      // sequence number of the next part
	parts  []*outgoing // ascending by sequence number
	queued int         // their bytes
	flying int         // of these, bytes that have been sent
	bulk   int         // parts of calls
	rtt    rtt
	resent uint64
}

// outgoing is a part that has not been acknowledged.
type outgoing struct {
	part
	tries   int
	bulk    bool      // of a call
	untimed bool      // when it is acknowledged tells nothing about the round trip
	first   time.Time // sent
	sent    time.Time // last
	due     time.Time // when it is to be sent, again
}

const (
	// An unanswered part is sent again after 1.5 round trips, and then ever later.
	leastRepeat = 20 * time.Millisecond
	mostRepeat  = time.Second
	maxDoubling = 3

	// maxFlying is how many bytes are sent without an acknowledgement, that a
	// burst of answers does not overrun the other side's socket.
	maxFlying = 256 << 10
	// maxQueued is how many bytes wait for the other side to take them: some
	// thousand answers at once.
	maxQueued = 8 << 20
	// stalledAfter is how long a message may need, or what is heard from the
	// other side is not what it should be.
	stalledAfter = 30 * time.Second
)

func (s *sender) queue(now time.Time, message []byte, bulk bool) {
	count := max(1, (len(message)+maxPart-1)/maxPart)
	for i := range count {
		s.parts = append(s.parts, &outgoing{due: now, bulk: bulk, part: part{
			seq: s.next, index: uint64(i), count: uint64(count),
			data: message[i*maxPart : min((i+1)*maxPart, len(message))],
		}})
		s.next++
	}
	s.queued += len(message)
	if bulk {
		s.bulk += count
	}
}

// take returns the next part that is due and fits into room bytes.
func (s *sender) take(now time.Time, room int) *outgoing {
	for o := range s.inFlight() {
		if o.due.After(now) || len(o.data)+partHeader > room {
			continue
		}
		if o.tries > 0 {
			s.resent++
		} else {
			s.flying += len(o.data)
			o.first = now
		}
		wait := max(s.rtt.smooth*3/2, leastRepeat) << min(o.tries, maxDoubling)
		o.tries++
		o.sent, o.due = now, now.Add(min(wait, mostRepeat))
		return o
	}
	return nil
}

// opening returns the hello, if it may not have arrived and fits into room
// bytes. It goes with all that is said until it has, since nothing can be acted
// on before it.
func (s *sender) opening(room int) *outgoing {
	if len(s.parts) == 0 || len(s.parts[0].data)+partHeader > room {
		return nil
	}
	o := s.parts[0]
	if o.seq > 0 || o.count > 1 || o.tries == 0 {
		return nil
	}
	o.untimed = true
	s.resent++
	return o
}

// inFlight are the parts that the other side can take now.
func (s *sender) inFlight() iter.Seq[*outgoing] {
	return func(yield func(*outgoing) bool) {
		for _, o := range s.parts {
			if o.seq >= s.parts[0].seq+window {
				return
			}
			if o.tries == 0 && s.flying >= maxFlying {
				continue
			}
			if !yield(o) {
				return
			}
		}
	}
}

func (s *sender) acknowledged(now time.Time, a set) {
	rest := s.parts[:0]
	for _, o := range s.parts {
		if o.tries == 0 || !a.has(o.seq) {
			rest = append(rest, o)
			continue
		}
		s.queued -= len(o.data)
		s.flying -= len(o.data)
		if o.bulk {
			s.bulk--
		}
		if o.tries == 1 && !o.untimed { // otherwise it is not known which was answered
			s.rtt.add(now.Sub(o.sent))
		}
	}
	clear(s.parts[len(rest):])
	if s.parts = rest; len(rest) == 0 {
		s.parts = nil // after a burst it is long
	}
}

func (s *sender) deadline() (next time.Time) {
	for o := range s.inFlight() {
		next = earlier(next, o.due)
	}
	return next
}

// stalled reports whether what is said does not arrive.
func (s *sender) stalled(now time.Time) bool {
	return len(s.parts) > 0 && s.parts[0].tries > 0 && now.Sub(s.parts[0].first) > stalledAfter
}

// drop forgets all that was to be sent.
func (s *sender) drop() { s.parts, s.queued, s.flying, s.bulk = nil, 0, 0, 0 }
