package cdn

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/deltacdn/delta/internal/endpoint/halfopen"
)

// An Admission is the place of one session at a node: of a publisher, a viewer or
// another node. Services take one for each session:
//
//	a, err := node.Authorize(ctx, request) // may the client do this?
//	ctx, err = a.Enter(ctx)                // is there a place? Make the session under ctx.
//	a.Start(session.End)                   // the session is made and can be ended
//	a.Proved()                             // the client has proved its address
//	a.Leave(err)                           // the session is over, or could not be made
//
// Whoever has called Enter owes a call of Leave. The methods may be called
// concurrently.
type Admission struct {
	// static
	node    *Node
	request AuthRequest // without the credential and the query
	grant   Grant
	source  netip.Prefix
	shared  bool // the source counts

	// guarded by node.admissions.mu
	proved  bool
	name    string
	begun   time.Time
	counted bool
	asked   error       // why the session was asked to end; nil: it was not
	end     func(error) // ends the session, or the making of it
	emitted emittedEvents
	life    lifetime
	over    bool
	err     error // why it is over
}

// emittedEvents says which of a session's events were emitted.
type emittedEvents int

const (
	emittedNone emittedEvents = iota
	emittingStart
	emittedStart
)

// Authorize asks the node's [Authorizer] whether a client or another node may do
// what r says. A node without an Authorizer grants everything, with one exception: where
// [Config].Trust is set, a fetch is refused, ahead of asking the Authorizer, if the
// requester has neither proved to be a node nor shown a credential. The Admission counts
// once the caller has called [Admission.Enter].
func (n *Node) Authorize(ctx context.Context, r AuthRequest) (*Admission, error) {
	fail := func(err error) (*Admission, error) {
		n.totals.refused(r.Action, err)
		return nil, &Error{Op: r.Action.String(), Stream: r.Stream, Err: err}
	}
	if r.Action == ActionFetch && !r.Trusted && r.Credential == "" && !n.config.Trust.Open() {
		return fail(fmt.Errorf("%w: the requester has not proved to be a node and shows no credential", ErrUnauthorized))
	}
	var g Grant
	if n.config.Authorizer != nil {
		var err error
		asking, span := n.Trace(ctx, "authorize", Attr{AttrAction, r.Action.String()})
		g, err = n.config.Authorizer.Authorize(asking, r)
		span.End(err)
		if err != nil {
			return fail(err)
		}
		if g.expired(time.Now()) {
			return fail(errGrantOver)
		}
	}
	r.Credential, r.Query = "", nil
	return &Admission{
		node: n, request: r, grant: g, source: halfopen.Source(r.RemoteAddr),
		shared: !r.Trusted && r.RemoteAddr != "", proved: r.Trusted,
	}, nil
}

// Grant returns the Authorizer's consent.
func (a *Admission) Grant() Grant { return a.grant }

// Name returns the session's name in events and listings, which is no secret. It is ""
// before Enter.
func (a *Admission) Name() string {
	a.node.admissions.mu.Lock()
	defer a.node.admissions.mu.Unlock()
	return a.name
}

// Begun returns when Enter was called.
func (a *Admission) Begun() time.Time {
	a.node.admissions.mu.Lock()
	defer a.node.admissions.mu.Unlock()
	return a.begun
}

// Enter takes a place for the session, as [Limits] says. It fails with [ErrOverLimit] if
// there is none, and with [ErrClosed] if the node is closed. The returned context is for
// making the session. It is done when ctx is, or when the session is asked to end; the
// reason is its cause then.
func (a *Admission) Enter(ctx context.Context) (context.Context, error) {
	fail := func(err error) error {
		return &Error{Op: a.request.Action.String(), Stream: a.request.Stream, Err: err, RetryAfter: retryAfter(err)}
	}
	if err := a.node.refusesNow(a.request); err != nil {
		a.node.totals.refused(a.request.Action, err)
		return ctx, fail(err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	losers, err := a.node.admissions.enter(a, cancel, a.node.Limits())
	if err != nil {
		cancel(err)
		a.node.totals.refused(a.request.Action, err)
		return ctx, fail(err)
	}
	if a.request.Action != ActionPublish {
		a.node.throughput.arrives() // which Leave takes back
	}
	if err := a.refusedSince(); err != nil {
		cancel(err)
		a.Leave(err)
		return ctx, fail(err)
	}
	a.watchGrant()
	a.node.noteLoad()
	for _, loser := range losers {
		loser.ask(fmt.Errorf("%w: the client took too long to connect while others asked", ErrOverLimit))
	}
	return ctx, nil
}

func retryAfter(err error) time.Duration {
	if errors.Is(err, ErrDraining) {
		return drainRetry
	}
	if errors.Is(err, ErrOverLimit) {
		return 5 * time.Second
	}
	return 0
}

// Start notes that the session is made, and emits [SessionStarted]. From now on end is
// called, at most once, when the session is asked to end: by [Node.EndSession], or because
// it was half-open and another session took its place. If that has happened already, Start
// calls it at once. end must not block.
func (a *Admission) Start(end func(error)) {
	all := &a.node.admissions
	all.mu.Lock()
	asked, made := a.asked, a.end
	a.emitted = emittingStart
	if !a.over {
		a.end = end
	}
	all.mu.Unlock()
	if made != nil {
		made(nil) // it has nothing left to end
	}
	a.node.Emit(SessionStarted{
		Stream: a.request.Stream, Action: a.request.Action, Session: a.name,
		Subject: a.grant.Subject, Grant: a.grant.ID, Tag: a.grant.Tag, RemoteAddr: a.request.RemoteAddr,
	})
	all.mu.Lock()
	a.emitted = emittedStart
	over := a.over
	all.mu.Unlock()
	switch {
	case over:
		a.emitEnd()
	case asked != nil:
		end(asked)
	}
}

// Proved notes that the client has proved that it receives what is sent to its
// address. The session is no longer half-open.
func (a *Admission) Proved() { a.node.admissions.prove(a) }

// HasProved reports whether Proved has been called, or is not needed because the client is
// a trusted node.
func (a *Admission) HasProved() bool {
	a.node.admissions.mu.Lock()
	defer a.node.admissions.mu.Unlock()
	return a.proved
}

// Leave gives the place back, and emits [SessionEnded] if the session was started. err is
// why it is over. A session that was not started counts as refused. Leave may be called
// without Enter, and only the first call counts.
func (a *Admission) Leave(err error) {
	all := &a.node.admissions
	all.mu.Lock()
	if a.over {
		all.mu.Unlock()
		return
	}
	a.over, a.err = true, err
	all.removeLocked(a)
	delete(all.byName, a.name)
	if len(all.byName) == 0 && all.gone != nil {
		close(all.gone)
		all.gone = nil
	}
	emitted, made, entered := a.emitted, a.end, a.name != ""
	a.end = nil
	life := a.life
	all.mu.Unlock()
	life.stop()
	if entered && a.request.Action != ActionPublish {
		a.node.throughput.leaves(a.begun)
	}
	a.node.noteLoad()
	switch emitted {
	case emittedStart:
		a.emitEnd()
	case emittedNone:
		a.node.totals.refused(a.request.Action, err)
		if made != nil {
			made(err)
		}
	case emittingStart: // Start emits the end
	}
}

// emitEnd emits SessionEnded. It is called once, after SessionStarted was emitted.
func (a *Admission) emitEnd() {
	a.node.Emit(SessionEnded{
		Stream: a.request.Stream, Action: a.request.Action, Session: a.name,
		Subject: a.grant.Subject, Grant: a.grant.ID, Tag: a.grant.Tag, Lasted: time.Since(a.begun), Err: a.err,
	})
}

// ask asks the session to end. The first reason counts.
func (a *Admission) ask(err error) {
	all := &a.node.admissions
	all.mu.Lock()
	end := a.end
	first := a.asked == nil && !a.over
	if first {
		a.asked = err
	}
	all.mu.Unlock()
	if first && end != nil {
		end(err)
	}
}

// A SessionInfo describes a session of a node.
type SessionInfo struct {
	Session    string // names it, as in events
	Stream     StreamID
	Action     Action
	Subject    string // of the session's [Grant], as are Grant and Tag
	Grant      string // Grant.ID
	Tag        string
	Node       NodeID // of ActionFetch: the other node, as it calls itself
	RemoteAddr string // of its signaling
	Begun      time.Time
	HalfOpen   bool // the client has not proved its address yet
}

// Sessions returns a snapshot of the node's sessions, the oldest first.
func (n *Node) Sessions() []SessionInfo {
	a := &n.admissions
	a.mu.Lock()
	defer a.mu.Unlock()
	all := make([]SessionInfo, 0, len(a.byName))
	for _, s := range a.byName {
		all = append(all, a.infoLocked(s))
	}
	slices.SortFunc(all, func(x, y SessionInfo) int {
		return cmp.Or(x.Begun.Compare(y.Begun), cmp.Compare(x.Session, y.Session))
	})
	return all
}

func (all *admissions) infoLocked(a *Admission) SessionInfo {
	_, half := all.halfOpen[a]
	return SessionInfo{
		Session: a.name, Stream: a.request.Stream, Action: a.request.Action, Subject: a.grant.Subject, Grant: a.grant.ID, Tag: a.grant.Tag,
		Node: a.request.Node, RemoteAddr: a.request.RemoteAddr, Begun: a.begun, HalfOpen: half,
	}
}

// EndSession ends a session by its name, which events and Sessions have. It does not wait
// until the session has ended. err is the reason in the log and in [SessionEnded]; the
// client is told which sentinel of this package it wraps. EndSession fails with
// [ErrNotFound] if there is no such session.
func (n *Node) EndSession(name string, err error) error {
	n.admissions.mu.Lock()
	a := n.admissions.byName[name]
	n.admissions.mu.Unlock()
	if a == nil {
		return &Error{Op: "end session", Err: fmt.Errorf("%w: no session %.40q", ErrNotFound, name)}
	}
	if err == nil {
		err = ErrClosed
	}
	a.ask(err)
	return nil
}

// EndSessions ends the sessions that match, as [Node.EndSession] does, and returns how
// many those are. match must not block and must not call the node.
func (n *Node) EndSessions(match func(SessionInfo) bool, err error) (ended int) {
	for _, s := range n.Sessions() {
		if match(s) && n.EndSession(s.Session, err) == nil {
			ended++
		}
	}
	return ended
}

// admissions are the admissions of a node.
type admissions struct {
	mu       sync.Mutex
	byName   map[string]*Admission
	count    int // of those that have a place; one that has lost it is ending
	halfOpen map[*Admission]struct{}
	sources  map[netip.Prefix]int
	tallies  map[tally]int
	closed   bool
	gone     chan struct{} // closed when there is no session; nil: nobody waits
}

func newAdmissions() admissions {
	return admissions{
		byName: make(map[string]*Admission), halfOpen: make(map[*Admission]struct{}), sources: make(map[netip.Prefix]int),
		tallies: make(map[tally]int),
	}
}

// enter finds a place for a, and returns the sessions that have lost theirs to it.
func (all *admissions) enter(a *Admission, cancel func(error), l Limits) (losers []*Admission, err error) {
	all.mu.Lock()
	defer all.mu.Unlock()
	if all.closed {
		return nil, ErrClosed
	}
	a.begun = time.Now()
	if losers, err = all.placeLocked(a, l); err != nil {
		return nil, err
	}
	for _, loser := range losers {
		all.removeLocked(loser)
	}
	all.addLocked(a)
	a.end = cancel
	return losers, nil
}

func (a *Admission) slot() halfopen.Slot { return halfopen.Slot{From: a.source, Since: a.begun} }

// halfOpenAtFirst reports whether the session is half-open until its client has proved
// its address. A session without an address came by signaling that is not open to
// strangers.
func (a *Admission) halfOpenAtFirst() bool { return a.shared && !a.proved }

func (all *admissions) addLocked(a *Admission) {
	for a.name == "" || all.byName[a.name] != nil {
		a.name = rand.Text()[:8]
	}
	all.byName[a.name] = a
	all.count++
	a.counted = true
	for _, t := range a.tallies() {
		all.tallies[t]++
	}
	if a.shared {
		all.sources[a.source]++
	}
	if a.halfOpenAtFirst() {
		all.halfOpen[a] = struct{}{}
	}
}

// removeLocked takes the place of a, once.
func (all *admissions) removeLocked(a *Admission) {
	if !a.counted {
		return
	}
	a.counted = false
	all.count--
	delete(all.halfOpen, a)
	for _, t := range a.tallies() {
		if all.tallies[t]--; all.tallies[t] == 0 {
			delete(all.tallies, t)
		}
	}
	if !a.shared {
		return
	}
	if all.sources[a.source]--; all.sources[a.source] == 0 {
		delete(all.sources, a.source)
	}
}

func (all *admissions) prove(a *Admission) {
	all.mu.Lock()
	defer all.mu.Unlock()
	a.proved = true
	delete(all.halfOpen, a)
}

func (all *admissions) close() {
	all.mu.Lock()
	defer all.mu.Unlock()
	all.closed = true
}

// empty returns nil if there is no session, and otherwise a channel that is closed when
// there is none.
func (all *admissions) empty() <-chan struct{} {
	all.mu.Lock()
	defer all.mu.Unlock()
	if len(all.byName) == 0 {
		return nil
	}
	if all.gone == nil {
		all.gone = make(chan struct{})
	}
	return all.gone
}

func (all *admissions) size() int {
	all.mu.Lock()
	defer all.mu.Unlock()
	return all.count
}

// load returns the share of limit that is in use, 1 at most.
func (all *admissions) load(limit int) float64 {
	all.mu.Lock()
	defer all.mu.Unlock()
	return min(1, float64(all.count)/float64(limit))
}
