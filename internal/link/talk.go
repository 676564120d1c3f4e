package link

import (
	"sync"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/link/control"
)

// stalled is how late this node may be before silence says nothing about the other
// one.
const stalled = 150 * time.Millisecond

// talk is the link's use of the control protocol. Any goroutine may give the protocol
// something to do; [Link.run] alone minds its deadlines and handles its events.
type talk struct {
	write func(datagram []byte) error // static; it takes the endpoint's lock
	kick  chan struct{}               // for run; room for one

	mu      sync.Mutex
	conn    *control.Conn
	events  []control.Event // for run
	goodbye *control.Closed // that is among them, or was; nil: there is none
	up      bool            // there is a connection
	closed  bool

	sent, sentBytes         uint64 // datagrams
	received, receivedBytes uint64
}

func (t *talk) init(now time.Time, hello control.Hello, write func([]byte) error) {
	t.kick, t.write = make(chan struct{}, 1), write
	t.conn = control.New(now, control.Config{Hello: hello})
}

// do has f give the protocol something to do, unless the link has ended. f must not
// take a lock of the link.
func (t *talk) do(f func(now time.Time, c *control.Conn)) {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.closed {
		f(now, t.conn)
		t.flushLocked()
		t.wake()
	}
}

// flushLocked sends what the protocol has to say, and takes its events.
func (t *talk) flushLocked() {
	if !t.up {
		return // it says it when the link is up
	}
	for d := t.conn.Datagram(); d != nil; d = t.conn.Datagram() {
		_ = t.write(d) // lost, it is said again
		t.sent++
		t.sentBytes += uint64(len(d))
	}
	for e, ok := t.conn.Event(); ok; e, ok = t.conn.Event() {
		if c, ok := e.(control.Closed); ok {
			t.goodbye = &c
		}
		t.events = append(t.events, e)
	}
}

func (t *talk) wake() {
	select {
	case t.kick <- struct{}{}:
	default:
	}
}

// first returns up to n datagrams that travel with the offer.
func (t *talk) first(n int) (all [][]byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(all) < n {
		d := t.conn.Datagram()
		if d == nil {
			break
		}
		all = append(all, append([]byte(nil), d...))
	}
	t.conn.Untimed()
	return all
}

// begin notes that the link is up, and takes the datagrams that came with the offer.
func (t *talk) begin(now time.Time, draining bool, first [][]byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return
	}
	t.up = true
	t.conn.Alive(now)
	t.conn.SetLeaving(now, draining)
	for _, d := range first {
		_ = t.conn.Receive(now, d) // what cannot be read was not by a node of ours
	}
	t.flushLocked()
	t.wake()
}

// receive takes a datagram.
func (t *talk) receive(now time.Time, datagram []byte) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.received++
	t.receivedBytes += uint64(len(datagram))
	err := t.conn.Receive(now, datagram)
	t.flushLocked()
	t.wake()
	return err
}

// tend does what is due, and returns the events for run and when something is due
// next, zero: nothing is.
func (t *talk) tend(now time.Time, s status) (events []control.Event, next time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.conn
	c.Alive(s.heard)
	if !t.up { // connecting has a deadline of its own
		c.Alive(now)
		return nil, now.Add(connectTimeout)
	}
	c.Carrying(now, s.carrying)
	c.SetLoad(s.load)
	if next := c.Next(); !next.IsZero() && !next.After(now) {
		c.Advance(now)
	}
	t.flushLocked()
	events, t.events = t.events, nil
	return events, c.Next()
}

// status is what the protocol has to know of the link.
type status struct {
	heard    time.Time // when media last came
	carrying bool      // the link carries streams
	load     float64   // of this node
}

// heldUp says that this node did not run for a while.
func (t *talk) heldUp(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.conn.HeldUp(now)
}

// close says goodbye.
func (t *talk) close(now time.Time, why control.Reason) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.up {
		t.conn.Close(now, why)
		t.flushLocked()
	}
	t.closed = true
}

// farewell returns the other node's goodbye, nil if none has come.
func (t *talk) farewell() *control.Closed {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.goodbye
}

func (t *talk) stats() control.Stats {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.conn.Stats()
}

func (t *talk) callable() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !t.closed && t.conn.Callable()
}

// probed returns the round trip, and when the other node last answered a probe.
func (t *talk) probed() (rtt time.Duration, answered time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.conn.RTT(), t.conn.Answered()
}

// count adds the datagrams to a node's totals.
func (t *talk) count(c *cdn.Totals) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c.Control.Sent.Add(cdn.Flow{Packets: t.sent, Bytes: t.sentBytes})
	c.Control.Received.Add(cdn.Flow{Packets: t.received, Bytes: t.receivedBytes})
}
