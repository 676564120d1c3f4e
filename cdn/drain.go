package cdn

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// A Drainer is a service that has something to do when its node begins to leave.
type Drainer interface {
	// Drain says that the node is leaving, and until when what it serves may stay;
	// zero: for as long as it takes. It must not block. It may be called again with
	// another time.
	Drain(until time.Time)
	// Undrain says that the node stays after all. It must not block.
	Undrain()
}

// drainRetry is when those that a leaving node refuses may try again: others then know
// that it is leaving, or it is back.
const drainRetry = 5 * time.Second

// leaving is the drain state of a node. The zero value does not drain.
type leaving struct {
	telling sync.Mutex // held while services are told, so that the newest state is told last; taken ahead of mu

	mu    sync.Mutex // taken ahead of no other
	on    bool
	until time.Time
	over  chan struct{} // of the newest Drain: closed by the next one, and by Undrain; nil while the node does not drain
}

// Draining reports whether the node is leaving: it has been told to [Node.Drain].
func (n *Node) Draining() bool {
	n.leaving.mu.Lock()
	defer n.leaving.mu.Unlock()
	return n.leaving.on
}

// Drain has the node leave without being missed, and returns when it serves nobody
// any more, with nil. It takes no more sessions (they are refused with [ErrDraining]),
// but for nodes that want a stream which is published here, and announces no fetched
// stream. Other nodes are told on their links, and go over to others. Viewers are led
// over by the services ([Drainer]); publishers stay longest, since WHIP cannot move
// them.
//
// When ctx ends, the sessions that are left are ended with ErrDraining, and Drain
// returns ctx's error once they are gone. The node stays as it is, refusing, until
// [Node.Undrain] or [Node.Close]. If Drain or Undrain is called meanwhile, the earlier
// Drain fails with [ErrSuperseded] at once and ends nobody: the newest one counts, also
// if it gives the sessions more time.
func (n *Node) Drain(ctx context.Context) error { return n.beginDrain(ctx)() }

// beginDrain has the node begin to leave, and returns what waits for the end as
// [Node.Drain] does. The caller must call that, with no lock held.
func (n *Node) beginDrain(ctx context.Context) (wait func() error) {
	l := &n.leaving
	l.telling.Lock()
	l.mu.Lock()
	l.on = true
	l.until, _ = ctx.Deadline()
	if l.over != nil {
		close(l.over)
	}
	l.over = make(chan struct{})
	over, until := l.over, l.until
	l.mu.Unlock()
	n.tellLeaving(func(d Drainer) { d.Drain(until) })
	l.telling.Unlock()
	return func() error { return n.endDrain(ctx, over) }
}

// endDrain waits until the node has no session or ctx ends, and ends the sessions that are
// left then.
func (n *Node) endDrain(ctx context.Context, over <-chan struct{}) error {
	err := n.waitEmpty(ctx, over)
	if err == nil || errors.Is(err, ErrSuperseded) {
		return err
	}
	for _, s := range n.Sessions() {
		_ = n.EndSession(s.Session, &Error{Op: "drain", Stream: s.Stream, Err: ErrDraining}) // it may be over
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeTimeout)
	defer cancel()
	_ = n.waitEmpty(end, over) // what does not end by then, Close ends
	return err
}

var errDrainOver = &Error{Op: "drain", Err: fmt.Errorf("%w: the node stays, or drains anew", ErrSuperseded)}

// waitEmpty returns nil when the node has no session.
func (n *Node) waitEmpty(ctx context.Context, over <-chan struct{}) error {
	for {
		empty := n.admissions.empty()
		if empty == nil {
			return nil
		}
		select {
		case <-empty:
		case <-over:
			return errDrainOver
		case <-ctx.Done():
			select {
			case <-over: // at the same time
				return errDrainOver
			default:
				return &Error{Op: "drain", Err: ctx.Err()}
			}
		}
	}
}

// Undrain takes [Node.Drain] back: the node announces and takes sessions again.
func (n *Node) Undrain() {
	l := &n.leaving
	l.telling.Lock()
	defer l.telling.Unlock()
	l.mu.Lock()
	if !l.on {
		l.mu.Unlock()
		return
	}
	l.on, l.until = false, time.Time{}
	close(l.over)
	l.over = nil
	l.mu.Unlock()
	n.tellLeaving(Drainer.Undrain)
}

// tellLeaving tells everybody that the node begins or ceases to leave.
func (n *Node) tellLeaving(tell func(Drainer)) {
	n.mu.Lock()
	services := n.services
	n.mu.Unlock()
	if n.announcer != nil {
		n.announcer.hold(n.Draining())
	}
	n.entryChanged()
	for _, s := range services {
		if d, ok := s.(Drainer); ok {
			tell(d)
		}
	}
}

// refusesNow returns why the node takes no session of that kind, nil: it does.
func (n *Node) refusesNow(r AuthRequest) error {
	if !n.Draining() {
		if r.Action == ActionPublish {
			return nil
		}
		return n.hasRoom()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if r.Action == ActionFetch && n.publishesLocked(r.Stream) {
		return nil
	}
	return ErrDraining
}
