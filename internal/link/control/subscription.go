package control

import (
	"encoding/json"
	"time"
)

// Messages about one subscription may overtake each other. An id is asked for
// once and never used again, so each message says all that there is to say: what
// is wanted or held carries a revision, of which the newest counts, and an end
// is final. Nothing needs to be kept of a subscription that is over: of the other
// side's, the set of ids that it has asked for tells; of ours, the last id.

// ask is a subscription of ours.
type ask struct {
	revision uint64 // of what we want
	accepted uint64 // revision, 0: none yet
}

// Subscribe asks for a stream. The id returned names the subscription in all that
// follows. One that is longer than a message, some 64 KiB, ends at once.
func (c *Conn) Subscribe(now time.Time, s Subscribe) uint64 {
	id := c.nextID
	if err := c.say(now, message{kind: kindSubscribe, id: id, body: s}); err != nil {
		id = unsaid | c.unsaid
		c.unsaid++
		c.events = append(c.events, Ended{ID: id, Reason: Reason{Code: overLimit, Text: err.Error()}})
		return id
	}
	c.nextID++
	if !c.closed {
		c.asks[id] = &ask{}
	}
	return id
}

// unsaid marks the ids of what the other side is never asked for: with one of the
// others it would stay a gap in the set that it has of them.
const unsaid = 1 << 63

// Want says which layers are wanted of a stream; nil: all. Names that do not fit a
// message change nothing.
func (c *Conn) Want(now time.Time, id uint64, layers []string) {
	if a := c.asks[id]; a != nil && c.say(now, message{kind: kindWant, id: id, revision: a.revision + 1, body: want{layers}}) == nil {
		a.revision++
	}
}

// Unsubscribe says that a stream is not wanted any more. No event about it follows.
// It may be called for one that has ended.
func (c *Conn) Unsubscribe(now time.Time, id uint64) {
	if c.asks[id] != nil {
		delete(c.asks, id)
		_ = c.say(now, message{kind: kindUnsubscribe, id: id}) // it is short
	}
}

// subscription acts on a message about a subscription, or about all of them.
func (c *Conn) subscription(m message, body []byte) (err error) {
	switch m.kind { //nolint:exhaustive // hello is none, and what is not known is passed over
	case kindSubscribe:
		var s Subscribe
		err = json.Unmarshal(body, &s)
		c.asked(m.id, s, err == nil)
	case kindWant:
		var w want
		if err = json.Unmarshal(body, &w); err == nil {
			return c.wants(m.id, m.revision, w.Layers, len(body))
		}
	case kindUnsubscribe:
		c.leaves(m.id)
	case kindSubscribed:
		var s Subscribed
		if err = json.Unmarshal(body, &s); err == nil {
			c.accepted(m.id, m.revision, s)
		}
	case kindEnd:
		var r Reason
		if err = json.Unmarshal(body, &r); err == nil {
			c.ended(m.id, r)
		}
	case kindCall, kindReply, kindCancel:
		return c.call(m, body)
	case kindLeaving:
		var l leaving
		if err = json.Unmarshal(body, &l); err == nil && m.revision > c.theyLeave {
			c.theyLeave = m.revision
			c.events = append(c.events, Leaving{Yes: l.Leaving})
		}
	}
	if err != nil {
		return errMessage
	}
	return nil
}

func (c *Conn) accepted(id, revision uint64, s Subscribed) {
	if a := c.asks[id]; a != nil && revision > a.accepted {
		a.accepted = revision
		c.events = append(c.events, Accepted{ID: id, Subscribed: s})
	}
}

func (c *Conn) ended(id uint64, r Reason) {
	if c.asks[id] != nil {
		delete(c.asks, id)
		c.events = append(c.events, Ended{ID: id, Reason: r})
	}
}

// SetLeaving tells the other side whether this one is leaving.
func (c *Conn) SetLeaving(now time.Time, yes bool) {
	if c.leaving == yes {
		return
	}
	c.leaving = yes
	c.weLeave++
	_ = c.say(now, message{kind: kindLeaving, revision: c.weLeave, body: leaving{yes}}) // it is short
}
