package control

import (
	"encoding/json"
	"slices"
	"time"
)

// A call is a question with an answer, both of them bytes that this package does not
// look into. They travel in chunks, so that what is long does not hold up what is
// short: a chunk or two of calls are on the way at a time, of each call one, and the
// rest waits until they have arrived. So the messages about one call do not overtake
// each other, unlike all others, and other messages wait for a few datagrams at most.
//
// Both sides may call. Each bounds what the other can make it keep: how many calls
// are open, and how long they are. Only a side whose hello has [FeatureCalls] is
// called.

// FeatureCalls is the feature of a hello that says that calls are answered.
const FeatureCalls = "calls"

const (
	// MaxCall and MaxReply bound a question and an answer, in bytes.
	MaxCall  = 64 << 10
	MaxReply = 1 << 20
	// maxCalls is how many calls each side may have open.
	maxCalls = 64
	// maxReplies bounds the sum of the answers that wait to go out.
	maxReplies = 4 << 20
	// maxTurns bounds how many questions, answers and cancellations wait to be said.
	maxTurns = 4 * maxCalls
	// chunk is how much of a question or an answer is in one message, and how much of
	// all calls is on the way.
	chunk = 12 << 10
)

// What a chunk is: the first byte of the body.
const (
	chunkMore   = iota // others follow
	chunkLast          // the question or answer is whole
	chunkFailed        // there is no answer; the rest is a Reason
)

// calls are those of both sides.
type calls struct {
	ours   map[uint64]*call
	theirs map[uint64]*call
	nextID uint64
	known  set        // ids of the other side's
	queue  []*sending // what is to be said, in turn
	owed   int        // bytes of answers that are to be sent
}

// call is one that is open: for us as long as the answer has not come, and for the
// other side as long as it has not been given.
type call struct {
	data  []byte // of the answer, or the question, as far as it has come
	count uint64 // chunks that have come
	whole bool   // the question has come
}

// sending is a question or an answer of which something is still to be said.
type sending struct {
	kind  kind
	id    uint64
	last  byte // what its last chunk is
	data  []byte
	count uint64 // chunks that were said
}

func newCalls() calls { return calls{ours: map[uint64]*call{}, theirs: map[uint64]*call{}} }

// Call asks the other side something. [Replied] tells the answer, unless the call is
// cancelled or the connection ends. It reports false, and nothing is asked, if the
// other side does not answer calls, as far as is known yet, if too many are open, or
// for a question of more than MaxCall bytes.
func (c *Conn) Call(now time.Time, question []byte) (id uint64, ok bool) {
	c.now = now
	s := &c.calls
	if c.closed || !c.callable || len(s.ours) >= maxCalls || len(s.queue) >= maxTurns || len(question) > MaxCall {
		return 0, false
	}
	id = s.nextID
	s.nextID++
	s.ours[id] = &call{}
	s.queue = append(s.queue, &sending{kind: kindCall, id: id, last: chunkLast, data: question})
	return id, true
}

// Callable reports whether the other side has said that it answers calls.
func (c *Conn) Callable() bool { return c.callable && !c.closed }

// Cancel says that no answer is wanted any more. No event about the call follows. It
// may be called for one that has been answered.
func (c *Conn) Cancel(now time.Time, id uint64) {
	c.now = now
	s := &c.calls
	if s.ours[id] == nil {
		return
	}
	delete(s.ours, id)
	s.drop(kindCall, id)
	s.queue = append(s.queue, &sending{kind: kindCancel, id: id, last: chunkLast}) // of an unsaid one, too: ids have no gaps
}

// Reply answers a call of the other side's. It may be called for one that was
// cancelled. An answer of more than MaxReply bytes, or more than can wait, is told as
// a failure.
func (c *Conn) Reply(now time.Time, id uint64, answer []byte) {
	if len(answer) > MaxReply || c.calls.owed+len(answer) > maxReplies {
		c.Fail(now, id, Reason{Code: overLimit})
		return
	}
	c.reply(now, id, chunkLast, answer)
}

// Fail says that a call of the other side's has no answer, and why.
func (c *Conn) Fail(now time.Time, id uint64, r Reason) {
	b, _ := json.Marshal(r.short()) // strings can be marshaled
	c.reply(now, id, chunkFailed, b)
}

func (c *Conn) reply(now time.Time, id uint64, last byte, data []byte) {
	c.now = now
	s := &c.calls
	if q := s.theirs[id]; c.closed || q == nil || !q.whole && last != chunkFailed {
		return
	}
	delete(s.theirs, id)
	s.owed += len(data)
	s.queue = append(s.queue, &sending{kind: kindReply, id: id, last: last, data: data})
}

// drop takes back what is still to be said of a call.
func (s *calls) drop(k kind, id uint64) {
	i := slices.IndexFunc(s.queue, func(o *sending) bool { return o.kind == k && o.id == id })
	if i < 0 {
		return
	}
	if k == kindReply {
		s.owed -= len(s.queue[i].data)
	}
	s.queue = slices.Delete(s.queue, i, i+1)
}

// sayCalls says the next chunks, if those said before have arrived.
func (c *Conn) sayCalls() {
	s := &c.calls
	if len(s.queue) == 0 || c.closed || c.out.bulk > 0 {
		return
	}
	room := chunk
	for n := len(s.queue); n > 0 && room > 0; n-- { // of each one chunk, at most
		o := s.queue[0]
		s.queue = s.queue[1:]
		size := min(len(o.data), room)
		state := byte(chunkMore)
		if size == len(o.data) {
			state = o.last
		}
		if o.last == chunkFailed && state == chunkMore { // a reason is not cut
			s.queue = append([]*sending{o}, s.queue...)
			break
		}
		b, err := message{kind: o.kind, id: o.id, revision: o.count, body: raw(append([]byte{state}, o.data[:size]...))}.marshal()
		if err != nil {
			continue // a chunk is no longer than a message may be
		}
		c.out.queue(c.now, b, true)
		o.data, o.count = o.data[size:], o.count+1
		room -= size + leastChunk
		if o.kind == kindReply {
			s.owed -= size
		}
		if state == chunkMore {
			s.queue = append(s.queue, o)
		}
	}
	if len(s.queue) == 0 {
		s.queue = nil
	}
}

// leastChunk is what a chunk counts for besides its bytes.
const leastChunk = 64

// call acts on a message about a call.
func (c *Conn) call(m message, body []byte) error {
	if m.kind == kindCancel {
		c.cancelled(m.id)
		return nil
	}
	if len(body) == 0 || body[0] > chunkFailed {
		return errMessage
	}
	if m.kind == kindReply {
		return c.replied(m, body[0], body[1:])
	}
	return c.called(m, body[0], body[1:])
}

// called takes a part of the other side's question.
func (c *Conn) called(m message, state byte, data []byte) error {
	s := &c.calls
	q := s.theirs[m.id]
	switch {
	case state == chunkFailed, q != nil && q.whole:
		return errMessage
	case q == nil && !s.known.add(m.id): // it is over
		return nil
	case q == nil && len(s.queue) >= 2*maxTurns: // it asks, and takes no answers
		return nil
	case q == nil:
		q = &call{}
		s.theirs[m.id] = q
	}
	switch {
	case m.revision != q.count:
		c.Fail(c.now, m.id, Reason{Code: invalid})
		return errMessage
	case len(s.theirs) > maxCalls, len(q.data)+len(data) > MaxCall:
		c.Fail(c.now, m.id, Reason{Code: overLimit})
		return nil
	}
	q.data, q.count = append(q.data, data...), q.count+1
	if q.whole = state == chunkLast; q.whole {
		c.events = append(c.events, Called{ID: m.id, Question: q.data})
	}
	return nil
}

// replied takes a part of an answer.
func (c *Conn) replied(m message, state byte, data []byte) error {
	s := &c.calls
	q := s.ours[m.id]
	if q == nil {
		return nil // cancelled
	}
	end := func(e Replied) {
		delete(s.ours, m.id)
		s.drop(kindCall, m.id) // it may be answered ahead of its end, by a refusal
		e.ID = m.id
		c.events = append(c.events, e)
	}
	switch {
	case state == chunkFailed:
		r := Reason{Code: invalid}
		_ = json.Unmarshal(data, &r) // without a reason it has failed all the same
		end(Replied{Failed: true, Reason: r})
	case m.revision != q.count:
		end(Replied{Failed: true, Reason: Reason{Code: invalid}})
		return errMessage
	case len(q.data)+len(data) > MaxReply:
		end(Replied{Failed: true, Reason: Reason{Code: overLimit}})
	default:
		q.data, q.count = append(q.data, data...), q.count+1
		if state == chunkLast {
			end(Replied{Answer: q.data})
		}
	}
	return nil
}

// cancelled notes that the other side wants no answer.
func (c *Conn) cancelled(id uint64) {
	s := &c.calls
	s.drop(kindReply, id) // what was said of it is no answer, and is dropped there
	if q := s.theirs[id]; q != nil {
		delete(s.theirs, id)
		if q.whole {
			c.events = append(c.events, Cancelled{ID: id})
		}
	}
	s.known.add(id)
}
