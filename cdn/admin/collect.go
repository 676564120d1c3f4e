package admin

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/relay"
)

// network is what is known of the other nodes. They are found along the links: each
// node's report names those with which it has one.
type network struct {
	api   *API
	calls *relay.Calls
	slots chan struct{} // one for each call that may be under way

	tried map[cdn.NodeID]time.Time // of the round: when a link was last tried with a node

	mu      sync.Mutex
	members map[cdn.NodeID]*member
	round   *round // that is under way, or the last one; nil: none has begun
}

// member is another node.
type member struct {
	path     []cdn.NodeID // by which it answered last, or is named
	report   Report       // the last
	received time.Time    // when that came; zero: never
	named    time.Time    // when another node last said that it is there
	problem  string       // why it did not answer in the last round; "": it did
}

// round is one inquiry at all nodes.
type round struct {
	ended chan struct{} // closed
	at    time.Time     // when; zero: not yet
}

const (
	// callsAtOnce is how many nodes are asked at a time: less than a link takes.
	callsAtOnce = 16
	// maxMembers bounds the nodes that are known.
	maxMembers = 1000
)

func (n *network) init(a *API) (err error) {
	n.api, n.members, n.slots = a, map[cdn.NodeID]*member{}, make(chan struct{}, callsAtOnce)
	if n.calls, err = relay.CallsOf(a.node); err != nil {
		return err
	}
	n.calls.Handle(method, a.answer)
	return nil
}

// answer does what another node's API asks.
func (a *API) answer(_ context.Context, c relay.Call) ([]byte, error) {
	var q ask
	if err := json.Unmarshal(c.Payload, &q); err != nil {
		return nil, cdn.ErrInvalid
	}
	return pack(a.perform(c.Path[0], q.bounded()))
}

// call asks a node over a path.
func (n *network) call(ctx context.Context, path []cdn.NodeID, q ask) (told, error) {
	select {
	case n.slots <- struct{}{}:
		defer func() { <-n.slots }()
	case <-ctx.Done():
		return told{}, ctx.Err()
	}
	ctx, cancel := context.WithTimeout(ctx, n.api.config.Patience)
	defer cancel()
	b, err := json.Marshal(q)
	if err != nil {
		return told{}, err
	}
	answer, err := n.calls.Call(ctx, path, method, b)
	if err != nil {
		return told{}, err
	}
	return unpack(answer)
}

// ask asks one node, this one or another. A change is logged here and at the node that
// makes it.
func (a *API) ask(ctx context.Context, node cdn.NodeID, q ask) (told, error) {
	if node != a.node.ID() {
		t, err := a.askOther(ctx, node, q)
		if changes(q.Op) {
			a.audit(a.node.ID(), q, node, t, err)
		}
		return t, err
	}
	t := a.perform(node, q.bounded())
	return t, t.err(q.Op, "")
}

func (a *API) askOther(ctx context.Context, node cdn.NodeID, q ask) (told, error) {
	n := &a.network
	path := n.pathTo(node)
	if path == nil {
		n.refresh(ctx, time.Now())
		path = n.pathTo(node)
	}
	if path == nil {
		return told{}, failed(q.Op, cdn.ErrNotFound, "There is no such node.")
	}
	t, err := n.call(ctx, path, q)
	if errors.Is(err, cdn.ErrNotFound) || errors.Is(err, cdn.ErrPeerLost) { // the way may have changed; what is asked twice does no harm
		n.refresh(ctx, time.Now())
		if path = n.pathTo(node); path != nil {
			t, err = n.call(ctx, path, q)
		}
	}
	if err != nil {
		return told{}, failed(q.Op, reached(err), problemOfCall(err))
	}
	return t, t.err(q.Op, node)
}

// reached returns why a node could not be asked, as a client is told: a way that does
// not lead there is no answer that something does not exist.
func reached(err error) error {
	switch {
	case errors.Is(err, cdn.ErrTimeout), errors.Is(err, context.DeadlineExceeded):
		return cdn.ErrTimeout
	case errors.Is(err, cdn.ErrUnsupported):
		return cdn.ErrUnsupported
	case errors.Is(err, cdn.ErrOverLimit):
		return cdn.ErrOverLimit
	}
	return cdn.ErrPeerLost
}

func problemOfCall(err error) string {
	switch {
	case errors.Is(err, cdn.ErrUnsupported):
		return "The node has no admin API."
	case errors.Is(err, cdn.ErrNotFound):
		return "No link leads to the node, or it is of a version that cannot be asked."
	case errors.Is(err, cdn.ErrUnauthorized):
		return "The node does not trust the one that asks."
	case errors.Is(err, cdn.ErrOverLimit):
		return "The node was asked too much at a time."
	}
	return "The node does not answer."
}

func (n *network) pathTo(node cdn.NodeID) []cdn.NodeID {
	n.mu.Lock()
	defer n.mu.Unlock()
	if m := n.members[node]; m != nil {
		return m.path
	}
	return nil
}

// refresh asks all nodes, and returns when they have answered or had the time to,
// unless that was done since a moment.
func (n *network) refresh(ctx context.Context, since time.Time) {
	n.mu.Lock()
	r := n.round
	if r == nil || !r.at.IsZero() {
		if r != nil && !r.at.Before(since) {
			n.mu.Unlock()
			return
		}
		r = &round{ended: make(chan struct{})}
		if !n.api.begin(func() { n.run(r) }) {
			n.mu.Unlock()
			return
		}
		n.round = r
	}
	n.mu.Unlock()
	select {
	case <-r.ended:
	case <-ctx.Done():
	}
}

// run asks all nodes.
func (n *network) run(r *round) {
	s := &search{network: n, nodes: map[cdn.NodeID]*sought{n.api.node.ID(): {answered: true}}}
	ctx, cancel := context.WithTimeout(n.api.ctx, 2*n.api.config.Patience)
	defer cancel()
	for _, l := range relay.Links(n.api.node) { // those that cannot be asked, too
		s.visit(ctx, []cdn.NodeID{l.Node})
	}
	s.asking.Wait()
	n.connect(ctx, s)
	s.asking.Wait()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.noteLocked(s)
	r.at = time.Now()
	close(r.ended)
}

// connectEvery is how often a link is tried with a node that no link leads to.
const connectEvery = 10 * time.Second

// connect makes links with the nodes that the directory knows and no link leads to:
// those that have nothing to do with each other have none.
func (n *network) connect(ctx context.Context, s *search) {
	dir, ok := n.api.node.Directory().(cdn.NodeDirectory)
	if !ok {
		return
	}
	nodes, err := dir.Nodes(ctx)
	if err != nil {
		return
	}
	now := time.Now()
	tried := map[cdn.NodeID]time.Time{}
	for _, e := range nodes {
		s.mu.Lock()
		found := s.nodes[e.Node] != nil
		s.mu.Unlock()
		if e.Node == "" || e.URL == "" || found {
			continue
		}
		if tried[e.Node] = n.tried[e.Node]; now.Sub(tried[e.Node]) < connectEvery || len(tried) > maxMembers {
			continue
		}
		tried[e.Node] = now
		s.asking.Go(func() {
			patience, cancel := context.WithTimeout(ctx, n.api.config.Patience)
			defer cancel()
			if n.calls.Connect(patience, cdn.Entry{Node: e.Node, URL: e.URL, At: e.At}, n.api.config.Dialer) == nil {
				s.visit(ctx, []cdn.NodeID{e.Node})
			}
		})
	}
	n.tried = tried
}

// noteLocked takes what a round has found.
func (n *network) noteLocked(s *search) {
	now := time.Now()
	for id, f := range s.nodes {
		if id == n.api.node.ID() {
			continue
		}
		m := n.members[id]
		if m == nil {
			m = &member{}
			n.members[id] = m
		}
		m.path, m.named, m.problem = f.path, now, ""
		if f.answered {
			m.report, m.received = f.report, f.received
		} else {
			m.problem = problemOfCall(f.err)
		}
	}
	for id, m := range n.members {
		if s.nodes[id] != nil {
			continue
		}
		m.path, m.problem = nil, "No other node has a link with it."
		if now.Sub(m.received) > n.api.config.Forget {
			delete(n.members, id)
		}
	}
}

// search is what a round has found so far.
type search struct {
	network *network
	asking  sync.WaitGroup
	mu      sync.Mutex
	nodes   map[cdn.NodeID]*sought
}

// sought is a node that is asked.
type sought struct {
	path     []cdn.NodeID   // that is tried, or was last
	others   [][]cdn.NodeID // to be tried if that does not lead there
	busy     bool
	answered bool
	report   Report
	received time.Time
	err      error
}

// maxPaths is how many paths to one node are tried.
const maxPaths = 4

// visit asks the node at the end of a path, unless it has answered.
func (s *search) visit(ctx context.Context, path []cdn.NodeID) {
	if len(path) > relay.MaxCallHops {
		return
	}
	id := path[len(path)-1]
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.nodes[id]
	switch {
	case f == nil && len(s.nodes) >= maxMembers:
		return
	case f == nil:
		f = &sought{path: path}
		s.nodes[id] = f
	case f.answered || len(f.others) >= maxPaths:
		return
	default:
		f.others = append(f.others, path)
	}
	if !f.busy {
		f.busy = true
		s.asking.Go(func() { s.ask(ctx, f) })
	}
}

// ask asks a node for its report, by one path after the other, and then those that it
// has links with.
func (s *search) ask(ctx context.Context, f *sought) {
	for {
		s.mu.Lock()
		if len(f.others) > 0 && f.err != nil {
			f.path, f.others = f.others[0], f.others[1:]
		}
		path := f.path
		s.mu.Unlock()
		t, err := s.network.call(ctx, path, ask{Op: opReport})
		if err == nil && (t.Report == nil || t.Report.Node.ID != string(path[len(path)-1])) {
			err = cdn.ErrPeerLost
		}
		s.mu.Lock()
		f.err = err
		if err == nil {
			f.answered, f.report, f.received = true, t.Report.sound(), time.Now()
		}
		again := err != nil && len(f.others) > 0 && ctx.Err() == nil
		f.busy = again
		s.mu.Unlock()
		if again {
			continue
		}
		if err == nil {
			s.follow(ctx, path, f.report.Links)
		}
		return
	}
}

// follow visits the nodes at the other ends of links.
func (s *search) follow(ctx context.Context, path []cdn.NodeID, links []Link) {
	for _, l := range links {
		id, err := cdn.ParseNodeID(l.Peer)
		if err != nil || id == s.network.api.node.ID() || slices.Contains(path, id) {
			continue
		}
		s.visit(ctx, append(slices.Clone(path), id))
	}
}

// Network returns the whole network. Nodes that have not answered within
// [Config].Refresh are asked, and waited for as long as [Config].Patience says.
func (a *API) Network(ctx context.Context) (Network, error) {
	n := &a.network
	n.refresh(ctx, time.Now().Add(-a.config.Refresh))
	if err := ctx.Err(); err != nil {
		return Network{}, failed("network", cdn.ErrTimeout, "The other nodes did not answer in time.")
	}
	now := time.Now()
	own := a.ownReport()
	own.State, own.Time = Current, &now
	all := Network{Time: now, Via: string(a.node.ID()), Nodes: []Report{own}}
	n.mu.Lock()
	for id, m := range n.members {
		all.Nodes = append(all.Nodes, m.as(id, now))
	}
	n.mu.Unlock()
	slices.SortFunc(all.Nodes, func(x, y Report) int { return cmp.Compare(x.Node.ID, y.Node.ID) })
	return all, nil
}

// as returns the report of a member as it is told.
func (m *member) as(id cdn.NodeID, now time.Time) Report {
	r := m.report
	r.Hops, r.Problem = len(m.path), m.problem
	if m.received.IsZero() {
		r = Report{State: Unknown, Hops: len(m.path), Problem: m.problem, Node: Node{ID: string(id)}}
		return r.sound()
	}
	received := m.received
	r.State, r.Time, r.AgeSeconds = Current, &received, now.Sub(received).Seconds()
	if m.problem != "" {
		r.State = Stale
	}
	return r
}

// sound returns a report with lists that are not nil, and only those parts that are the
// node's own.
func (r Report) sound() Report {
	for _, list := range []*[]string{&r.Node.Roles} {
		if *list == nil {
			*list = []string{}
		}
	}
	if r.Links == nil {
		r.Links = []Link{}
	}
	if r.Streams == nil {
		r.Streams = []Stream{}
	}
	for i := range r.Links {
		r.Links[i].Node = r.Node.ID
	}
	for i := range r.Streams {
		r.Streams[i].Node = r.Node.ID
	}
	return r
}

// nodeIDs returns the IDs of all nodes that are known, in order.
func (a *API) nodeIDs(ctx context.Context) []cdn.NodeID {
	n := &a.network
	n.refresh(ctx, time.Now().Add(-a.config.Refresh))
	ids := []cdn.NodeID{a.node.ID()}
	n.mu.Lock()
	for id := range n.members {
		ids = append(ids, id)
	}
	n.mu.Unlock()
	slices.Sort(ids)
	return ids
}
