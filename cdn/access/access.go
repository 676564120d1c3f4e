// Package access decides who may publish, play and fetch by a list of rules that can be
// changed while a node runs. A [List] is a [cdn.Authorizer] around another one, and ends
// the sessions that a change forbids. [Any] asks several Authorizers in turn.
package access

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/deltacdn/delta/cdn"
)

// A List is a [cdn.Authorizer] that lets in whom the next one grants something and its
// [Policy] does not deny it. Its methods may be called concurrently.
type List struct {
	next   cdn.Authorizer
	policy atomic.Pointer[compiled]

	changing sync.Mutex // held by who changes the policy, and all below
	timer    *time.Timer
	bound    map[*binding]struct{}
	onChange func(Policy)
}

// New returns a list around next, which is asked who somebody is; nil: everybody is let
// in, and has an empty grant. p is the policy to begin with, and its Version counts on.
// The list does not keep p's slices.
func New(next cdn.Authorizer, p Policy) (*List, error) {
	p = p.without(time.Now())
	c, err := compile(p)
	if err != nil {
		return nil, fmt.Errorf("access list: %w", err)
	}
	l := &List{next: next, bound: make(map[*binding]struct{})}
	l.policy.Store(c)
	return l, nil
}

// Guards reports whether the list asks another Authorizer. If it does not, it only takes
// away: a node at which it is the Authorizer lets in those nodes that it would let in
// without one ([cdn.Guard]), as far as the policy does not deny it.
func (l *List) Guards() bool { return l.next != nil }

// A DeniedError is why a [List] refuses, or ends a session. It wraps [cdn.ErrForbidden].
type DeniedError struct {
	Stream cdn.StreamID
	Action cdn.Action
	Rule   Rule // that denies; of a block, as a rule
	Block  bool
	Index  int // in the policy's rules, or blocks
}

func (e *DeniedError) Error() string {
	what := "rule"
	if e.Block {
		what = "block"
	}
	text := fmt.Sprintf("%v: %s %d of the access list denies %s of %s", cdn.ErrForbidden, what, e.Index, e.Action, e.Stream)
	if e.Rule.Reason != "" {
		text += ": " + e.Rule.Reason
	}
	return text
}

// Unwrap returns [cdn.ErrForbidden].
func (e *DeniedError) Unwrap() error { return cdn.ErrForbidden }

// Authorize implements [cdn.Authorizer]. What is denied whoever asks is refused before
// the next Authorizer is asked.
func (l *List) Authorize(ctx context.Context, r cdn.AuthRequest) (g cdn.Grant, err error) {
	a := requester{action: r.Action, stream: r.Stream, address: addressOf(r.RemoteAddr)}
	if err := l.policy.Load().decide(time.Now(), a); err != nil {
		return g, err
	}
	if l.next != nil {
		if g, err = l.next.Authorize(ctx, r); err != nil {
			return g, err
		}
	}
	a.known, a.subject, a.tag, a.grant = true, g.Subject, g.Tag, g.ID
	if err := l.policy.Load().decide(time.Now(), a); err != nil {
		return cdn.Grant{}, err
	}
	return g, nil
}

// Policy returns the present policy, without what has lapsed. The caller may change it.
func (l *List) Policy() Policy { return l.policy.Load().without(time.Now()) }

// ErrConflict is why [List.Set] refuses a policy that was made of an old one. The error
// is a [*ConflictError] that wraps it.
var ErrConflict = errors.New("the access policy was changed meanwhile")

// A ConflictError says which version a policy was made of, and which one there is.
type ConflictError struct{ Given, Current uint64 }

func (e *ConflictError) Error() string {
	return fmt.Sprintf("%v: version %d was given, and %d is in force", ErrConflict, e.Given, e.Current)
}

// Unwrap returns [ErrConflict].
func (e *ConflictError) Unwrap() error { return ErrConflict }

// Set replaces the policy if p.Version is that of the present one, and returns it with
// its new version. Otherwise it fails with [ErrConflict], so that of two who change the
// same version one learns of the other. What is malformed is refused with a [*RuleError],
// and changes nothing. Set asks the sessions of bound nodes that p denies to end, and
// does not wait for that.
func (l *List) Set(p Policy) (Policy, error) {
	l.changing.Lock()
	defer l.changing.Unlock()
	if current := l.policy.Load().Version; p.Version != current {
		return Policy{}, &ConflictError{p.Version, current}
	}
	return l.setLocked(p)
}

// Block keeps everybody from the streams that match pattern until the time given, zero:
// until [List.Unblock]. A block of the same pattern is replaced. Sessions of bound nodes
// end, as with Set. The reason is for operators.
func (l *List) Block(pattern, reason string, until time.Time) (Policy, error) {
	l.changing.Lock()
	defer l.changing.Unlock()
	p := l.Policy()
	b := Block{Streams: pattern, Reason: reason, Until: until}
	if i := p.block(pattern); i >= 0 {
		p.Blocks[i] = b
	} else {
		p.Blocks = append(p.Blocks, b)
	}
	if lapsed(until, time.Now()) {
		return Policy{}, &RuleError{"blocks", max(p.block(pattern), 0), "until", errors.New("it has lapsed already")}
	}
	return l.setLocked(p)
}

// Unblock takes the block of that very pattern back, and reports whether there was one.
func (l *List) Unblock(pattern string) (p Policy, had bool) {
	l.changing.Lock()
	defer l.changing.Unlock()
	p = l.Policy()
	i := p.block(pattern)
	if i < 0 {
		return p, false
	}
	p.Blocks = slices.Delete(p.Blocks, i, i+1)
	p, err := l.setLocked(p)
	return p, err == nil // a policy with less in it cannot be malformed
}

func (p Policy) block(pattern string) int {
	return slices.IndexFunc(p.Blocks, func(b Block) bool { return b.Streams == pattern })
}

// OnChange has f told of each policy that replaces another one, in order, before those
// who replaced it return: to keep it in a file, say. f must not change the list. A second
// call replaces f.
func (l *List) OnChange(f func(Policy)) {
	l.changing.Lock()
	defer l.changing.Unlock()
	l.onChange = f
}

func (l *List) setLocked(p Policy) (Policy, error) {
	p = p.without(time.Now())
	p.Version++
	c, err := compile(p)
	if err != nil {
		return Policy{}, err
	}
	l.policy.Store(c)
	l.reviewLocked()
	if l.onChange != nil {
		l.onChange(l.Policy())
	}
	return l.Policy(), nil
}

// A binding is a node whose sessions the list ends.
type binding struct {
	list   *List
	review *cdn.Review
}

// Bind has the list end those sessions of n that a change of its policy denies, also when
// a rule that allowed them lapses: within a second, and whatever became of the stream
// meanwhile, since sessions are matched by what they are. n should have the list as its
// Authorizer, or one that asks it. It ends when n is closed.
func (l *List) Bind(n *cdn.Node) {
	b := &binding{list: l, review: n.Review(l.check)}
	l.changing.Lock()
	l.bound[b] = struct{}{}
	l.reviewLocked()
	l.changing.Unlock()
	n.Own(b)
}

// Close ends the binding.
func (b *binding) Close() error {
	b.review.Stop()
	b.list.changing.Lock()
	defer b.list.changing.Unlock()
	delete(b.list.bound, b)
	b.list.timeLocked()
	return nil
}

// check returns why a session must not stay, nil: it may.
func (l *List) check(s cdn.SessionInfo) error {
	return l.policy.Load().decide(time.Now(), requester{
		action: s.Action, stream: s.Stream, address: addressOf(s.RemoteAddr), known: true, subject: s.Subject, tag: s.Tag, grant: s.Grant,
	})
}

// reviewLocked asks about all sessions, now and when the next rule lapses.
func (l *List) reviewLocked() {
	for b := range l.bound {
		b.review.Again()
	}
	l.timeLocked()
}

func (l *List) timeLocked() {
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
	now := time.Now()
	if at := l.policy.Load().next(now); len(l.bound) > 0 && !at.IsZero() {
		l.timer = time.AfterFunc(at.Sub(now), func() {
			l.changing.Lock()
			defer l.changing.Unlock()
			l.reviewLocked()
		})
	}
}
