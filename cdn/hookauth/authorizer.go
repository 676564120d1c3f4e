// Package hookauth lets an HTTP server of the operator decide who may publish, play
// and fetch: the hook. Each question is a POST with a [Question], each answer an
// [Answer]; docs/auth-tokens.md has the protocol. Nobody is let in without an answer.
package hookauth

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/internal/revocation"
	"github.com/deltacdn/delta/internal/endpoint/halfopen"
)

// An Authorizer is a [cdn.Authorizer] that asks a hook. Nodes that have proved to be
// nodes ([cdn.AuthRequest].Trusted) may fetch unasked. Equal questions at one time are
// asked once. Sessions that run are asked about again every [Config].Recheck, and end
// when the hook refuses; while it does not answer they go on. Its methods may be called
// concurrently. It must be closed.
type Authorizer struct {
	// static
	config  Config
	hook    *hook
	ctx     context.Context // of all requests
	cancel  context.CancelFunc
	running sync.WaitGroup

	sessions revocation.Set[session]
	revoked  revocation.Names // by Answer.ID

	mu      sync.Mutex
	closed  bool
	asking  map[key]*call
	answers *cache
	held    map[key]*held // questions whose grants sessions have, or had until lately
}

// A session names the grant that sessions have: the hook may give each answer to one
// question an ID of its own.
type session struct {
	question key
	id       string
}

// A call is a question that is being asked, for all who want to know.
type call struct {
	done   chan struct{} // closed when the rest is set
	answer Answer
	err    error
}

// A held grant is one that sessions run with.
type held struct {
	question []byte
	asked    time.Time // when the hook was asked last
	renewed  string    // the ID of the hook's last answer about sessions that run, "" if it was not asked
}

// New makes an Authorizer, and makes no request. Errors wrap [cdn.ErrInvalid], and hold
// no secrets.
func New(c Config) (*Authorizer, error) {
	c, u, keys, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	a := &Authorizer{
		config: c, hook: newHook(c, u, keys), asking: make(map[key]*call), answers: newCache(c.Cache), held: make(map[key]*held),
	}
	a.ctx, a.cancel = context.WithCancel(context.Background())
	a.running.Go(a.recheck)
	return a, nil
}

// Authorize asks the hook, or takes its answer to the same question if that lasts.
func (a *Authorizer) Authorize(ctx context.Context, r cdn.AuthRequest) (cdn.Grant, error) {
	if r.Action == cdn.ActionFetch && r.Trusted {
		return cdn.Grant{Subject: string(r.Node)}, nil
	}
	refuse := func(err error, detail string) (cdn.Grant, error) {
		return cdn.Grant{}, &cdn.Error{Op: "ask the hook about", Stream: r.Stream, Err: err, Detail: detail}
	}
	question, k, err := a.question(r)
	if err != nil {
		return refuse(err, "")
	}
	answer, err := a.ask(ctx, k, question, halfopen.Source(r.RemoteAddr))
	if err != nil {
		return refuse(err, "The server cannot check who may do this at the moment. Try again in a few seconds.")
	}
	if err := answer.refusal(); err != nil {
		return refuse(err, answer.Detail)
	}
	g := cdn.Grant{
		Subject: answer.Subject, ID: answer.ID, Tag: answer.Tag, Expires: answer.Expires, MaxBitrate: answer.MaxBitrate,
		Revoked: a.hold(k, question, answer.ID),
	}
	if answer.ID != "" && a.revoked.Has(answer.ID) {
		return refuse(errRevoked, "")
	}
	return g, nil
}

// hold notes that a session may run with a grant, and returns the context that ends
// it.
func (a *Authorizer) hold(k key, question []byte, id string) context.Context {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.held[k] == nil {
		a.held[k] = &held{question: question, asked: time.Now()}
	}
	return a.sessions.Context(session{k, id})
}

// ask returns the answer that is kept, or the one that others wait for, or asks.
func (a *Authorizer) ask(ctx context.Context, k key, question []byte, client netip.Prefix) (Answer, error) {
	a.mu.Lock()
	if answer, ok := a.answers.get(k, time.Now()); ok {
		a.mu.Unlock()
		return answer, nil
	}
	if a.closed {
		a.mu.Unlock()
		return Answer{}, fmt.Errorf("%w: closed", ErrHook)
	}
	c := a.asking[k]
	if c == nil {
		c = &call{done: make(chan struct{})}
		a.asking[k] = c
		a.running.Go(func() { a.call(c, k, question, client) })
	}
	a.mu.Unlock()
	select {
	case <-c.done:
		return c.answer, c.err
	case <-ctx.Done():
		return Answer{}, fmt.Errorf("%w: %w", ErrHook, context.Cause(ctx))
	}
}

// call asks the hook, and keeps the answer.
func (a *Authorizer) call(c *call, k key, question []byte, client netip.Prefix) {
	c.answer, c.err = a.hook.ask(a.ctx, question, client)
	now := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.asking, k)
	if c.err == nil {
		a.keep(k, c.answer, now)
	}
	close(c.done)
}

// keep keeps an answer for as long as it lasts. a.mu is held.
func (a *Authorizer) keep(k key, answer Answer, now time.Time) {
	if h := a.held[k]; h != nil {
		h.asked = now
	}
	ttl := min(answer.TTL, a.config.MaxTTL)
	if !answer.Allow {
		if answer.TTL == 0 {
			ttl = a.config.RefusalTTL
		}
		ttl = min(ttl, a.config.RefusalTTL)
	}
	until := now.Add(ttl)
	if answer.Allow && !answer.Expires.IsZero() && answer.Expires.Before(until) {
		until = answer.Expires
	}
	if until.After(now) {
		a.answers.put(k, answer, until)
	} else {
		a.answers.remove(k)
	}
}

// recheck asks about the grants of running sessions again, until the Authorizer is
// closed. It asks a quarter as many questions at a time as the hook may get: that many
// are kept for it, and who joins does not wait for them.
func (a *Authorizer) recheck() {
	ticker := time.NewTicker(a.config.Recheck.Abs()/8 + time.Millisecond)
	defer ticker.Stop()
	atATime := make(chan struct{}, a.config.rechecks())
	for {
		select {
		case <-ticker.C:
		case <-a.ctx.Done():
			return
		}
		var asking sync.WaitGroup
		for k, question := range a.dueForRecheck(time.Now()) {
			select {
			case atATime <- struct{}{}:
			case <-a.ctx.Done():
				continue
			}
			asking.Go(func() {
				defer func() { <-atATime }()
				a.askAgain(k, question)
			})
		}
		asking.Wait()
	}
}

// dueForRecheck returns the questions to ask again, and forgets those of sessions that
// are over.
func (a *Authorizer) dueForRecheck(now time.Time) map[key][]byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	running := make(map[key]*held)
	for _, s := range a.sessions.Keys() {
		if h := a.held[s.question]; h != nil {
			running[s.question] = h
		}
	}
	a.held = running
	due := make(map[key][]byte)
	for k, h := range running {
		if a.config.Recheck > 0 && now.Sub(h.asked) >= a.config.Recheck-a.config.Recheck/8 {
			due[k] = h.question
		}
	}
	return due
}

// askAgain asks about a grant, and ends its sessions if the hook refuses. A hook that
// does not answer says nothing.
func (a *Authorizer) askAgain(k key, question []byte) {
	answer, err := a.hook.askAgain(a.ctx, question)
	if err != nil {
		return
	}
	a.mu.Lock()
	a.keep(k, answer, time.Now())
	if h := a.held[k]; h != nil && answer.Allow {
		h.renewed = answer.ID
	}
	a.mu.Unlock()
	err = answer.refusal()
	if err == nil && answer.ID != "" && a.revoked.Has(answer.ID) {
		err = errRevoked
	}
	if err != nil {
		a.end(err, func(s session) bool { return s.question == k })
	}
}

var errRevoked = fmt.Errorf("the grant was revoked: %w", cdn.ErrUnauthorized)

// end ends the sessions that match.
func (a *Authorizer) end(err error, match func(session) bool) {
	for _, s := range a.sessions.Keys() {
		if match(s) {
			a.sessions.Revoke(s, err)
		}
	}
}

// Revoke refuses grants with that ID until a time, which should be when they end, and
// ends the sessions that have one, be it that of the answer which let them in or of the
// newest one about them, with an error wrapping [cdn.ErrUnauthorized]. A zero
// time is for ever. It is known to this Authorizer alone: revoke at every node, and
// again after a restart.
func (a *Authorizer) Revoke(id string, until time.Time) {
	if id == "" {
		return
	}
	a.revoked.Add(id, until)
	renewed := make(map[key]bool)
	a.mu.Lock()
	for k, h := range a.held {
		renewed[k] = h.renewed == id
	}
	a.mu.Unlock()
	a.end(errRevoked, func(s session) bool { return s.id == id || renewed[s.question] })
}

// Close ends all questions, refuses later ones, and waits.
func (a *Authorizer) Close() error {
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	a.cancel()
	a.running.Wait()
	a.hook.client.Close()
	return nil
}
