package control

import (
	"encoding/binary"
	"encoding/json"
	"time"
)

// Messages about one subscription may overtake each other. An id is asked for
// once and never used again, so each message says all that there is to say: what
// is wanted or held carries a revision, of which the newest counts, and an end
// is final.

// Subscribe asks for a stream. The id returned names the subscription in all that
// follows.
func (c *Conn) Subscribe(now time.Time, s Subscribe) uint64 {
	id := c.nextID
	c.nextID++
	c.asks[id] = &ask{}
	if !c.say(now, message{kind: kindSubscribe, id: id, body: s}) {
		delete(c.asks, id)
		c.say(now, message{kind: kindSubscribe, id: id}) // so that no id is missing: it is refused
		c.events = append(c.events, Ended{ID: id, Reason: Reason{Code: "invalid", Text: "too long"}})
	}
	return id
}

// Want says which layers are wanted of a stream; nil: all.
func (c *Conn) Want(now time.Time, id uint64, layers []string) {
	if a := c.asks[id]; a != nil {
		a.revision++
		c.say(now, message{kind: kindWant, id: id, revision: a.revision, body: want{layers}})
	}
}

// Unsubscribe says that a stream is not wanted any more. No event follows. It
// may be called for one that has ended.
func (c *Conn) Unsubscribe(now time.Time, id uint64) {
	if c.asks[id] != nil {
		delete(c.asks, id)
		c.say(now, message{kind: kindUnsubscribe, id: id})
	}
}

// Accept says what a stream holds that the other side has asked for. It may be
// called again when that has changed.
func (c *Conn) Accept(now time.Time, id uint64, s Subscribed) {
	if v := c.serves[id]; v != nil {
		v.revision++
		if !c.say(now, message{kind: kindSubscribed, id: id, revision: v.revision, body: s}) {
			c.End(now, id, Reason{Code: "over limit", Text: "too much to be described"})
		}
	}
}

// End refuses a stream that the other side has asked for, or says that it is
// over. It may be called for one that the other side has left.
func (c *Conn) End(now time.Time, id uint64, r Reason) {
	if c.serves[id] != nil {
		delete(c.serves, id)
		c.say(now, message{kind: kindEnd, id: id, body: r})
	}
}

// subscription acts on a message about a subscription.
func (c *Conn) subscription(m message, body []byte) error {
	switch m.kind { //nolint:exhaustive // hello is none, and what is not known is passed over
	case kindSubscribe:
		var s Subscribe
		if json.Unmarshal(body, &s) != nil {
			c.known.add(m.id)
			return errMessage
		}
		c.asked(m.id, s)
	case kindWant:
		var w want
		if json.Unmarshal(body, &w) != nil {
			return errMessage
		}
		c.wants(m.id, m.revision, w.Layers)
	case kindUnsubscribe:
		c.leaves(m.id)
	case kindSubscribed:
		var s Subscribed
		if json.Unmarshal(body, &s) != nil {
			return errMessage
		}
		if a := c.asks[m.id]; a != nil && m.revision > a.accepted {
			a.accepted = m.revision
			c.events = append(c.events, Accepted{ID: m.id, Subscribed: s})
		}
	case kindEnd:
		var r Reason
		if json.Unmarshal(body, &r) != nil {
			return errMessage
		}
		if c.asks[m.id] != nil {
			delete(c.asks, m.id)
			c.events = append(c.events, Ended{ID: m.id, Reason: r})
		}
	}
	return nil
}

func (c *Conn) asked(id uint64, s Subscribe) {
	if !c.known.add(id) {
		return // again, or further ahead than the other side can be
	}
	before := c.pending[id]
	delete(c.pending, id)
	switch {
	case before != nil && before.left:
		return
	case len(c.serves) >= c.config.Subscriptions:
		c.say(c.now, message{kind: kindEnd, id: id, body: Reason{Code: "over limit"}})
		return
	}
	v := &serve{}
	if before != nil {
		v.wanted = before.wanted
		s.Layers = before.layers
	}
	c.serves[id] = v
	c.events = append(c.events, Asked{ID: id, Subscribe: s})
}

// about returns what is known of a subscription of the other side's: also of one
// that has not been asked for yet, since a message has overtaken that. It is nil
// for one that is over.
func (c *Conn) about(id uint64) (v *serve, early bool) {
	if v := c.serves[id]; v != nil {
		return v, false
	}
	if c.known.has(id) || id-c.known.next >= window {
		return nil, false
	}
	if c.pending[id] == nil {
		c.pending[id] = &serve{}
	}
	return c.pending[id], true
}

func (c *Conn) wants(id, revision uint64, layers []string) {
	v, early := c.about(id)
	if v == nil || revision <= v.wanted {
		return
	}
	v.wanted, v.layers = revision, layers
	if !early {
		c.events = append(c.events, Wanted{ID: id, Layers: layers})
	}
}

func (c *Conn) leaves(id uint64) {
	v, early := c.about(id)
	switch {
	case v == nil:
	case early:
		v.left = true
	default:
		delete(c.serves, id)
		c.events = append(c.events, Left{ID: id})
	}
}

func appendUvarint(n uint64) []byte { return binary.AppendUvarint(nil, n) }
