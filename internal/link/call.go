package link

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/link/control"
	"github.com/deltacdn/delta/internal/trouble/reason"
	"github.com/deltacdn/delta/signal"
)

// A CallHandler answers the questions of another node. It is called concurrently. ctx
// ends with the link, or when the other node wants no answer any more. Of an error, that
// node is told only which sentinel of package cdn it wraps.
type CallHandler func(ctx context.Context, peer cdn.NodeID, question []byte) ([]byte, error)

// calls are the open calls of a link. They are guarded by the link's mu.
type calls struct {
	ours   map[uint64]chan<- control.Replied
	theirs map[uint64]context.CancelFunc
}

// Answer sets the function that answers other nodes. Nil: none does.
func (ls *Links) Answer(h CallHandler) { ls.answers.Store(&h) }

// Callable returns the nodes that can be called, sorted: those with which a link is up,
// that answer calls, and that are authenticated.
func (ls *Links) Callable() (nodes []cdn.NodeID) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	for l := range ls.all {
		if l.callable() {
			nodes = append(nodes, l.Peer())
		}
	}
	slices.Sort(nodes)
	return slices.Compact(nodes)
}

// Connect makes a link with a node unless there is one, and returns when the node can be
// called.
func (ls *Links) Connect(ctx context.Context, to cdn.Entry, by signal.LinkDialer) error {
	for range maxMoves {
		l, err := ls.to(to, by)
		if err != nil {
			return err
		}
		l.start()
		select {
		case <-l.gotHello:
			return nil
		case <-l.Done():
		case <-ctx.Done():
			return &cdn.Error{Op: "link", Node: to.Node, Err: ctx.Err()}
		}
		if err := l.Err(); !errors.Is(err, ErrMoved) && !errors.Is(err, cdn.ErrSuperseded) {
			return err
		}
	}
	return &cdn.Error{Op: "link", Node: to.Node, Err: ErrMoved}
}

func (l *Link) callable() bool {
	if !l.isUp() || !l.trusted() {
		return false
	}
	return l.talk.callable()
}

// trusted reports whether the two nodes may call each other: the other one is
// authenticated or, where no trust is configured, is on this machine.
func (l *Link) trusted() bool {
	return !l.links.trust.Open() || l.conn.To().Addr().IsLoopback()
}

// Call asks a node with which there is a link, and returns its answer. The error wraps
// [cdn.ErrNotFound] if there is no link, [cdn.ErrOverLimit] if the question is too long
// or too many calls are open, and [cdn.ErrPeerLost] if the link ends meanwhile. The
// caller must not change the question afterwards.
func (ls *Links) Call(ctx context.Context, peer cdn.NodeID, question []byte) ([]byte, error) {
	fail := func(err error) error { return &cdn.Error{Op: "call", Node: peer, Err: err} }
	ls.mu.Lock()
	l := ls.findLocked(func(l *Link) bool { return l.Peer() == peer && l.callable() })
	ls.mu.Unlock()
	if l == nil {
		return nil, fail(fmt.Errorf("%w: no link by which it can be asked", cdn.ErrNotFound))
	}
	replied := make(chan control.Replied, 1)
	id, asked := l.ask(question, replied)
	if !asked {
		return nil, fail(fmt.Errorf("%w: too many calls, or one of %d bytes", cdn.ErrOverLimit, len(question)))
	}
	select {
	case r := <-replied:
		if r.Failed {
			return nil, fail(fmt.Errorf("%w: %s", reason.Error(r.Reason.Code), r.Reason.Text))
		}
		return r.Answer, nil
	case <-l.conn.Context().Done():
		return nil, fail(fmt.Errorf("%w: the link is over", cdn.ErrPeerLost))
	case <-ctx.Done():
		l.mu.Lock()
		delete(l.calls.ours, id)
		l.mu.Unlock()
		l.talk.do(func(now time.Time, c *control.Conn) { c.Cancel(now, id) })
		return nil, fail(context.Cause(ctx))
	}
}

func (l *Link) ask(question []byte, replied chan<- control.Replied) (id uint64, asked bool) {
	l.mu.Lock() // the answer needs it, too
	defer l.mu.Unlock()
	l.talk.do(func(now time.Time, c *control.Conn) { id, asked = c.Call(now, question) })
	if asked {
		l.calls.ours[id] = replied
	}
	return id, asked
}

// replied gives an answer to the call that waits for it.
func (l *Link) replied(r control.Replied) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if to := l.calls.ours[r.ID]; to != nil {
		delete(l.calls.ours, r.ID)
		to <- r // it has room for one
	}
}

// called has a question of the other node answered.
func (l *Link) called(q control.Called) {
	h := l.links.answers.Load()
	switch {
	case !l.trusted():
		l.talk.do(func(now time.Time, c *control.Conn) {
			c.Fail(now, q.ID, control.Reason{Code: reason.Word(cdn.ErrUnauthorized)})
		})
		return
	case h == nil || *h == nil:
		l.talk.do(func(now time.Time, c *control.Conn) {
			c.Fail(now, q.ID, control.Reason{Code: reason.Word(cdn.ErrUnsupported)})
		})
		return
	}
	ctx, cancel := context.WithCancel(l.conn.Context())
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.subs.over {
		cancel()
		return
	}
	l.calls.theirs[q.ID] = cancel
	l.work.Go(func() {
		answer, err := (*h)(ctx, l.Peer(), q.Question)
		cancel()
		l.mu.Lock()
		delete(l.calls.theirs, q.ID)
		l.mu.Unlock()
		l.talk.do(func(now time.Time, c *control.Conn) {
			if err != nil {
				c.Fail(now, q.ID, control.Reason{Code: reason.Word(err)})
				return
			}
			c.Reply(now, q.ID, answer)
		})
	})
}

// cancelled notes that the other node wants no answer any more.
func (l *Link) cancelled(id uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if cancel := l.calls.theirs[id]; cancel != nil {
		cancel()
	}
}
