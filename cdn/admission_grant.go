package cdn

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// A lifetime ends a session whose grant has expired or was revoked. It has no goroutine.
type lifetime struct {
	expiry  *time.Timer
	unwatch func() bool
}

func (l lifetime) stop() {
	if l.expiry != nil {
		l.expiry.Stop()
	}
	if l.unwatch != nil {
		l.unwatch()
	}
}

var errGrantOver = fmt.Errorf("%w: the grant is over", ErrExpired)

func (g Grant) expired(now time.Time) bool { return !g.Expires.IsZero() && !now.Before(g.Expires) }

// watchGrant has the session asked to end when its grant expires or is revoked.
func (a *Admission) watchGrant() {
	g := a.grant
	if g.Expires.IsZero() && g.Revoked == nil {
		return
	}
	var l lifetime
	if g.Revoked != nil {
		l.unwatch = context.AfterFunc(g.Revoked, func() { a.ask(revocation(g.Revoked)) })
	}
	all := &a.node.admissions
	all.mu.Lock()
	if !g.Expires.IsZero() {
		l.expiry = time.AfterFunc(time.Until(g.Expires), a.expire)
	}
	over := a.over
	a.life = l
	all.mu.Unlock()
	if over {
		l.stop()
	}
}

// expire asks the session to end, unless the clock was set back since the timer was set.
func (a *Admission) expire() {
	if a.grant.expired(time.Now()) {
		a.ask(errGrantOver)
		return
	}
	a.node.admissions.mu.Lock()
	defer a.node.admissions.mu.Unlock()
	if !a.over {
		a.life.expiry.Reset(time.Until(a.grant.Expires))
	}
}

// revocation returns why a grant was revoked. The error wraps [ErrUnauthorized] or
// [ErrForbidden].
func revocation(revoked context.Context) error {
	cause := context.Cause(revoked)
	if errors.Is(cause, ErrUnauthorized) || errors.Is(cause, ErrForbidden) {
		return cause
	}
	return fmt.Errorf("%w: the grant was revoked: %w", ErrUnauthorized, cause)
}

// refusedSince returns why a session that has just been admitted must end at once, or nil.
// Something may have changed since it was authorized.
func (a *Admission) refusedSince() error {
	if err := a.node.refusesNow(a.request); errors.Is(err, ErrDraining) {
		return err
	}
	if a.grant.expired(time.Now()) {
		return errGrantOver
	}
	if r := a.grant.Revoked; r != nil && r.Err() != nil {
		return revocation(r)
	}
	all := &a.node.admissions
	all.mu.Lock()
	info := all.infoLocked(a)
	all.mu.Unlock()
	for _, r := range a.node.reviews.list() {
		if err := r.check(info); err != nil {
			return err
		}
	}
	return nil
}

// A Review asks whether sessions of a node may stay. Its methods may be called
// concurrently.
type Review struct {
	node  *Node
	check func(SessionInfo) error
}

// Review calls check for each session that enters the node from now on, and for all of
// the node's sessions whenever [Review.Again] is called. If check returns an error, the
// session is refused, or ended, with that error. An [Authorizer] whose rules change uses
// Review: it also catches a session that was authorized by the old rules and enters after
// the change. check must not block and must not call the node. The caller must call Stop,
// unless the node is closed.
func (n *Node) Review(check func(SessionInfo) error) *Review {
	r := &Review{node: n, check: check}
	n.reviews.mu.Lock()
	defer n.reviews.mu.Unlock()
	n.reviews.all = append(slices.Clone(n.reviews.all), r)
	return r
}

// Again checks all sessions of the node, ends those that must not stay, and returns how
// many those are. It does not wait until they have ended.
func (r *Review) Again() (ended int) {
	for _, s := range r.node.Sessions() {
		if err := r.check(s); err != nil && r.node.EndSession(s.Session, err) == nil {
			ended++
		}
	}
	return ended
}

// Stop ends the review: it ends and refuses no session any more. It is idempotent.
func (r *Review) Stop() {
	all := &r.node.reviews
	all.mu.Lock()
	defer all.mu.Unlock()
	all.all = slices.DeleteFunc(slices.Clone(all.all), func(x *Review) bool { return x == r })
}

// reviews are the reviews of a node.
type reviews struct {
	mu  sync.Mutex // taken ahead of no other
	all []*Review  // replaced, not changed
}

func (r *reviews) list() []*Review {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.all
}
