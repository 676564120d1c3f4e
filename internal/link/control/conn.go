package control

import (
	"encoding/json"
	"fmt"
	"time"
)

// Config sets up a [Conn].
type Config struct {
	Hello Hello // ours
	// Subscriptions bounds how many the other side may have at a time. If zero,
	// 4096.
	Subscriptions int
	// RTT is a first estimate of the round trip. If zero, 100 ms.
	RTT time.Duration
}

// A Conn is one side's state. It must not be used concurrently.
type Conn struct {
	config Config
	now    time.Time // of the last call

	out   sender
	in    receiver
	probe probe

	opened   bool
	callable bool     // the other side answers calls
	early    [][]byte // messages that came before the hello
	closed   bool
	bye      []byte // reason, to be told
	byes     int    // how often, still
	events   []Event
	buf      []byte

	asks      map[uint64]*ask // ours, by id
	nextID    uint64          // of ours
	unsaid    uint64          // ids of ours that the other side never heard of
	serves    serves          // the other side's
	calls     calls
	leaving   bool   // as the other side was told
	weLeave   uint64 // revision of that
	theyLeave uint64 // revision of what the other side has said
	held      int    // bytes of early, and of what was said of ids that were not asked for yet
}

const (
	// byeCopies is how often a goodbye is said at once: it is not acknowledged.
	byeCopies = 3
	// maxHeld bounds what is kept of messages that have overtaken the one that
	// they need. One that obeys the window has no more on the way.
	maxHeld = window * maxPart
)

// New returns a Conn. It panics if the hello is longer than a message.
func New(now time.Time, c Config) *Conn {
	if c.Subscriptions <= 0 {
		c.Subscriptions = 4096
	}
	if c.RTT <= 0 {
		c.RTT = 100 * time.Millisecond
	}
	c.Hello.Load = share(c.Hello.Load)
	k := &Conn{config: c, now: now, asks: make(map[uint64]*ask), serves: newServes(), calls: newCalls()}
	k.out.rtt.smooth = c.RTT
	k.in.pending = make(map[uint64]*assembly)
	k.probe.heard, k.probe.since, k.probe.asked = now, now, now
	k.probe.load = c.Hello.Load
	if err := k.say(now, message{kind: kindHello, body: c.Hello}); err != nil {
		panic("control: a hello that cannot be said: " + err.Error())
	}
	return k
}

// say has a message sent until it has arrived.
func (c *Conn) say(now time.Time, m message) error {
	c.now = now
	if c.closed {
		return nil
	}
	b, err := m.marshal()
	if err != nil {
		return err
	}
	if c.out.queued+len(b) > maxQueued {
		c.lost("it takes nothing of what it is told")
		return nil
	}
	c.out.queue(now, b, false)
	return nil
}

// Receive takes a datagram of the other side's. One that is malformed is an error
// and changes nothing. A message in it that cannot be read is an error, too, and
// passed over; the rest counts.
func (c *Conn) Receive(now time.Time, datagram []byte) error {
	if c.closed {
		return nil
	}
	var bad error
	err := frames(datagram, func(t frameType, body []byte) {
		c.now = now
		if err := c.frame(now, t, body); err != nil && bad == nil {
			bad = err
		}
	})
	if err != nil {
		return err
	}
	c.probe.alive(now)
	return bad
}

// frame acts on a frame that has been checked.
func (c *Conn) frame(now time.Time, t frameType, body []byte) error {
	if c.closed {
		return nil
	}
	switch t {
	case framePart:
		p, _ := parsePart(body)
		m, err := c.in.take(now, p)
		if m == nil {
			return err
		}
		return c.message(m)
	case frameAck:
		a, _ := parseSet(body)
		c.out.acknowledged(now, a)
	case framePing:
		p, _ := parsePing(body)
		c.probe.asks(p)
	case framePong:
		p, _ := parsePing(body)
		if rtt, ok := c.probe.answered(now, p); ok {
			c.out.rtt.add(rtt)
		}
	case frameClose:
		c.goodbye(body)
	}
	return nil
}

// Alive notes that something authentic has come by another way: a sign of life.
func (c *Conn) Alive(now time.Time) { c.probe.alive(now) }

// Answered returns when the latest question was asked that the other side has answered:
// it was alive then.
func (c *Conn) Answered() time.Time { return c.probe.confirmed }

// Probe asks the other side for a sign of life now, whenever the next question is due.
func (c *Conn) Probe(now time.Time) {
	c.now = now
	c.probe.pending = !c.closed
}

// HeldUp says that this side was held up until now, so that silence before it tells
// nothing of the other side. It counts a few times in a row.
func (c *Conn) HeldUp(now time.Time) { c.probe.excuse(now) }

// Carrying says whether media travels on the link, in either direction.
func (c *Conn) Carrying(now time.Time, yes bool) {
	if c.probe.carrying != yes {
		c.probe.carrying, c.probe.since = yes, now
	}
}

// SetLoad says which share of the node's capacity is in use, 0 to 1. The next ping
// tells it, within a second.
func (c *Conn) SetLoad(load float64) { c.probe.load = share(load) }

// Advance does what is due.
func (c *Conn) Advance(now time.Time) {
	c.now = now
	if c.closed {
		return
	}
	dead := c.probe.dead(c.out.rtt)
	switch {
	case !dead.IsZero() && !now.Before(dead):
		c.end(Closed{Err: ErrPeerSilent})
	case c.in.stalled(now):
		c.lost("the rest of a message does not come")
	case c.out.stalled(now):
		c.lost("it does not acknowledge what it is told")
	default:
		c.probe.sweep(now)
		c.probe.pending = !now.Before(c.probe.due())
	}
}

// Next returns when Advance has to be called at the latest; zero: not any more.
func (c *Conn) Next() time.Time {
	if c.closed {
		return time.Time{}
	}
	return earlier(earlier(c.probe.due(), c.probe.dead(c.out.rtt)), c.out.deadline())
}

// Close says goodbye, some times over, and no more. Of the events only [Closed]
// follows.
func (c *Conn) Close(now time.Time, r Reason) {
	c.now = now
	if !c.closed {
		c.leave(r, Closed{Reason: r})
	}
}

// leave ends the connection and tells the other side why.
func (c *Conn) leave(r Reason, e Closed) {
	c.end(e)
	c.bye, _ = json.Marshal(r.short()) // two strings can be marshaled
	c.byes = byeCopies
}

// lost ends the connection, since the other side, though it is heard, is as good
// as silent.
func (c *Conn) lost(why string) {
	c.leave(Reason{Code: lost, Text: why}, Closed{Err: fmt.Errorf("%w: %s", ErrPeerSilent, why)})
}

// end ends the connection without a word.
func (c *Conn) end(e Closed) {
	c.closed = true
	c.early, c.held = nil, 0
	c.out.drop()
	c.in.pending, c.asks, c.serves, c.calls = nil, nil, serves{}, calls{}
	c.events = append(c.events, e)
}

// Untimed says that what has been sent so far went another way: when it is
// acknowledged tells nothing about the round trip.
func (c *Conn) Untimed() {
	for _, o := range c.out.parts {
		o.untimed = true
	}
}

// Event returns what has happened next, and false if nothing.
func (c *Conn) Event() (Event, bool) {
	if len(c.events) == 0 {
		c.events = nil
		return nil, false
	}
	e := c.events[0]
	c.events = c.events[1:]
	return e, true
}
