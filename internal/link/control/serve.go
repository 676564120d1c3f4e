package control

import "time"

// serves are the other side's subscriptions.
type serves struct {
	running map[uint64]*serve
	known   set               // ids that were asked for
	early   map[uint64]*serve // said of ids that were not asked for yet, in the window
}

// serve is a subscription of the other side's.
type serve struct {
	revision uint64 // of what we have said that it holds
	wanted   uint64 // revision

	// Of one that was not asked for yet.
	layers []string
	held   int // their bytes in the message
	left   bool
}

func newServes() serves {
	return serves{running: make(map[uint64]*serve), early: make(map[uint64]*serve)}
}

// Accept says what a stream holds that the other side has asked for. It may be
// called again when that has changed. What is longer than a message, some 64 KiB,
// ends the subscription: [Left] says so.
func (c *Conn) Accept(now time.Time, id uint64, s Subscribed) {
	v := c.serves.running[id]
	if v == nil {
		return
	}
	v.revision++
	if err := c.say(now, message{kind: kindSubscribed, id: id, revision: v.revision, body: s}); err != nil {
		c.End(now, id, Reason{Code: overLimit, Text: err.Error()})
		c.events = append(c.events, Left{ID: id})
	}
}

// End refuses a stream that the other side has asked for, or says that it is
// over. It may be called for one that the other side has left.
func (c *Conn) End(now time.Time, id uint64, r Reason) {
	if c.serves.running[id] != nil {
		delete(c.serves.running, id)
		c.refuse(now, id, r)
	}
}

func (c *Conn) refuse(now time.Time, id uint64, r Reason) {
	_ = c.say(now, message{kind: kindEnd, id: id, body: r.short()})
}

// asked takes a wish, readable or not: its id has been used in any case.
func (c *Conn) asked(id uint64, s Subscribe, readable bool) {
	if !c.serves.known.add(id) {
		return // again, or further ahead than the other side can be
	}
	before := c.serves.early[id]
	delete(c.serves.early, id)
	v := &serve{}
	if before != nil {
		c.held -= before.held
		if before.left {
			return
		}
		if before.wanted > 0 {
			v.wanted, s.Layers = before.wanted, before.layers
		}
	}
	switch {
	case !readable:
		c.refuse(c.now, id, Reason{Code: invalid})
	case len(c.serves.running) >= c.config.Subscriptions:
		c.refuse(c.now, id, Reason{Code: overLimit})
	default:
		c.serves.running[id] = v
		c.events = append(c.events, Asked{ID: id, Subscribe: s})
	}
}

// about returns what is known of a subscription of the other side's: also of one
// that has not been asked for yet, since a message has overtaken that. It is nil
// for one that is over.
func (c *Conn) about(id uint64) (v *serve, early bool) {
	s := &c.serves
	if v := s.running[id]; v != nil {
		return v, false
	}
	if s.known.has(id) || id-s.known.next >= window {
		return nil, false
	}
	if s.early[id] == nil {
		s.early[id] = &serve{}
	}
	return s.early[id], true
}

func (c *Conn) wants(id, revision uint64, layers []string, size int) error {
	v, early := c.about(id)
	switch {
	case v == nil || revision <= v.wanted:
		return nil
	case !early:
		c.events = append(c.events, Wanted{ID: id, Layers: layers})
	case !c.hold(size - v.held):
		return errMessage
	default:
		v.layers, v.held = layers, size
	}
	v.wanted = revision
	return nil
}

func (c *Conn) leaves(id uint64) {
	v, early := c.about(id)
	switch {
	case v == nil:
	case early:
		v.left = true
	default:
		delete(c.serves.running, id)
		c.events = append(c.events, Left{ID: id})
	}
}
