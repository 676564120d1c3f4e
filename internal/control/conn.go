// Package control is the protocol of a link: what the two nodes at its ends say
// to each other besides media. Each asks the other for streams, and is told what
// they hold and why they end; and both watch over the other being there.
//
// It is a state machine without clock or I/O: time and datagrams are passed in,
// datagrams and events come out. The datagrams may be lost, doubled and
// reordered on the way, and must be kept secret and unforged by what carries
// them, DTLS. Both sides are alike. Nothing waits for the other's hello: the
// first datagram may hold the first subscription.
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

	opened bool
	early  [][]byte // messages that came before the hello
	closed bool
	bye    []byte // close frame to be sent
	byes   int    // how often, still
	events []Event
	buf    []byte

	asks    map[uint64]*ask   // ours, by id
	nextID  uint64            // of ours
	serves  map[uint64]*serve // the other side's
	known   set               // ids of the other side's that were asked for
	pending map[uint64]*serve // said of ids that were not asked for yet
}

// ask is a subscription of ours.
type ask struct {
	revision uint64 // of what we want
	accepted uint64 // revision, 0: none yet
}

// serve is a subscription of the other side's.
type serve struct {
	revision uint64 // of what we have said that it holds
	wanted   uint64 // revision
	layers   []string
	left     bool
}

// byeCopies is how often a goodbye is said at once: it is not acknowledged.
const byeCopies = 3

// New returns a Conn.
func New(now time.Time, c Config) *Conn {
	if c.Subscriptions <= 0 {
		c.Subscriptions = 4096
	}
	if c.RTT <= 0 {
		c.RTT = 100 * time.Millisecond
	}
	k := &Conn{
		config: c, now: now,
		asks: make(map[uint64]*ask), serves: make(map[uint64]*serve), pending: make(map[uint64]*serve),
	}
	k.out.rtt.smooth = c.RTT
	k.in.pending = make(map[uint64]*assembly)
	k.probe.heard, k.probe.since, k.probe.asked = now, now, now
	k.say(now, message{kind: kindHello, body: c.Hello})
	return k
}

// say has a message sent until it has arrived. It is false for one that is too
// long, which is not sent.
func (c *Conn) say(now time.Time, m message) bool {
	c.now = now
	raw := m.marshal()
	if len(raw) > maxParts*maxPart {
		return false
	}
	if !c.closed {
		c.out.queue(now, raw)
	}
	return true
}

// Receive takes a datagram of the other side's. What is malformed is an error,
// and changes nothing.
func (c *Conn) Receive(now time.Time, datagram []byte) error {
	c.now = now
	if c.closed {
		return nil
	}
	c.probe.heard = now
	return frames(datagram, func(t frameType, body []byte) error {
		switch t {
		case framePart:
			p, err := parsePart(body)
			if err != nil {
				return err
			}
			if m := c.in.take(p); m != nil {
				return c.message(m)
			}
		case frameAck:
			a, err := parseSet(body)
			if err != nil {
				return err
			}
			c.out.acknowledged(now, a)
		case framePing:
			c.probe.asks(body)
		case framePong:
			if rtt, ok := c.probe.answered(now, body); ok {
				c.out.rtt.add(rtt)
			}
		case frameClose:
			var r Reason
			_ = json.Unmarshal(body, &r) // without a reason it is a goodbye all the same
			c.end(Closed{Reason: r})
		}
		return nil
	})
}

// message acts on a message, once the hello has come.
func (c *Conn) message(b []byte) error {
	m, body, err := parse(b)
	switch {
	case err != nil || c.closed:
		return err
	case m.kind == kindHello:
		return c.hello(body)
	case !c.opened:
		if len(c.early) < window {
			c.early = append(c.early, append([]byte(nil), b...))
		}
		return nil
	}
	return c.subscription(m, body)
}

func (c *Conn) hello(body []byte) error {
	var h Hello
	if err := json.Unmarshal(body, &h); err != nil {
		return errMessage
	}
	version := min(h.Max, c.config.Hello.Max)
	if version < max(h.Min, c.config.Hello.Min) {
		err := fmt.Errorf("%w: %d to %d here, %d to %d there", ErrVersion, c.config.Hello.Min, c.config.Hello.Max, h.Min, h.Max)
		c.Close(c.now, Reason{Code: "unsupported", Text: err.Error()})
		c.events = append(c.events, Closed{Err: err})
		return nil
	}
	if c.opened {
		return nil
	}
	c.opened = true
	c.events = append(c.events, Opened{Hello: h, Version: version})
	early := c.early
	c.early = nil
	for _, b := range early {
		if err := c.message(b); err != nil {
			return err
		}
	}
	return nil
}

// Heard says that something authentic has come by another way: a sign of life.
func (c *Conn) Heard(now time.Time) { c.probe.heard = later(c.probe.heard, now) }

// Carrying says whether media travels on the link, in either direction.
func (c *Conn) Carrying(now time.Time, yes bool) {
	if c.probe.carrying != yes {
		c.probe.carrying, c.probe.since = yes, now
	}
}

// Advance does what is due.
func (c *Conn) Advance(now time.Time) {
	c.now = now
	if c.closed {
		return
	}
	if !now.Before(c.probe.dead(c.out.rtt)) {
		c.end(Closed{Err: ErrPeerSilent})
		return
	}
	c.probe.sweep(now)
	c.probe.pending = !now.Before(c.probe.due())
}

// Next returns when Advance has to be called at the latest; zero: not any more.
func (c *Conn) Next() time.Time {
	if c.closed {
		return time.Time{}
	}
	return earlier(earlier(c.probe.due(), c.probe.dead(c.out.rtt)), c.out.deadline())
}

// end ends the connection without a word.
func (c *Conn) end(e Closed) {
	c.closed = true
	c.out.parts, c.early = nil, nil
	c.events = append(c.events, e)
}

// Close says goodbye. No event follows.
func (c *Conn) Close(now time.Time, r Reason) {
	c.now = now
	if c.closed {
		return
	}
	c.closed = true
	c.out.parts, c.early = nil, nil
	c.bye, _ = json.Marshal(r) // two strings can be marshaled
	c.byes = byeCopies
}

// Untimed says that what has been sent so far went another way: when it is
// acknowledged tells nothing about the round trip.
func (c *Conn) Untimed() {
	for _, o := range c.out.parts {
		o.tries = max(o.tries, 2)
	}
}

// Datagram returns the next datagram to be sent now, nil if there is none. It is
// good until the next call.
func (c *Conn) Datagram() []byte {
	b := append(c.buf[:0], format)
	defer func() { c.buf = b }()
	if c.closed {
		if c.byes == 0 {
			return nil
		}
		c.byes--
		b = appendFrame(b, frameClose, c.bye)
		return b
	}
	ack := c.in.ack
	if ack {
		b = appendFrame(b, frameAck, c.in.seen.marshal())
		c.in.ack = false
	}
	for _, id := range c.probe.pongs {
		b = appendFrame(b, framePong, appendUvarint(id))
	}
	c.probe.pongs = c.probe.pongs[:0]
	if c.probe.pending {
		b = appendFrame(b, framePing, c.probe.ask(c.now))
	}
	for o := c.out.take(c.now, maxDatagram-len(b)); o != nil; o = c.out.take(c.now, maxDatagram-len(b)) {
		b = appendFrame(b, framePart, o.marshal())
	}
	if len(b) == 1 {
		return nil
	}
	return b
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

// Stats is a snapshot.
type Stats struct {
	RTT    time.Duration // 0 before it is known
	Loss   float64       // share of probes that were not answered, of late
	Said   uint64        // parts of messages
	Resent uint64        // of them, those that were sent more than once
}

// Stats returns a snapshot.
func (c *Conn) Stats() Stats {
	s := Stats{Loss: c.probe.loss, Said: c.out.next, Resent: c.out.resent}
	if c.out.rtt.known {
		s.RTT = c.out.rtt.smooth
	}
	return s
}
