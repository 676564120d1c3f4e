// Package nearby is what a node knows of the others: which there are, as its directory
// says, and how far they are, as it measures by STUN Binding requests to their UDP
// ports. A probe has some 50 bytes; those that matter are sent one each 5 s.
package nearby

import (
	"cmp"
	"context"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/jitter"
	"github.com/deltacdn/delta/internal/service"
	"github.com/deltacdn/delta/internal/udp/binding"
	"github.com/deltacdn/delta/internal/udp/port"
)

const (
	// refreshEvery is how often the directory is asked which nodes there are.
	refreshEvery = 5 * time.Second
	// askTimeout bounds a question to it.
	askTimeout = 3 * time.Second
	// closest is how many nodes are measured often, besides the origins.
	closest = 8
	// Those are measured each measureEvery, others each measureFar.
	measureEvery = 5 * time.Second
	measureFar   = time.Minute
	// beat is the interval between rounds of probes; a round sends mostAtOnce at most.
	beat       = 100 * time.Millisecond
	mostAtOnce = 20
	// answerWithin is how long an answer is waited for; after it a node is asked again,
	// sooner than it would be.
	answerWithin = time.Second
	// samples are how many round trips are kept of a node, of which the shortest
	// counts: what took longer has waited in queues.
	samples = 5
	// maxNodes bounds what is kept.
	maxNodes = 10_000
	// A latency that is announced stays until the measured one differs by so much, by
	// both measures: neighbours put each other in order by it.
	announceApart = 2 * time.Millisecond
	announcePart  = 5 // a fifth
)

// A Map is what a node knows of the others. It belongs to the node, which closes it.
// Its methods may be called concurrently.
type Map struct {
	// static
	node   *cdn.Node
	dir    cdn.NodeDirectory
	port   *port.Port // of the node
	jitter *jitter.Source
	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup

	mu      sync.Mutex
	nodes   []cdn.NodeEntry // by name; of others
	at      map[cdn.NodeID]*measured
	open    map[binding.ID]question
	news    chan struct{} // closed at the next answer, and when the directory has answered
	asked   bool          // the directory has answered once
	askedAt time.Time     // when it last did
}

// measured is what is known of the way to one node.
type measured struct {
	rtts      []time.Duration // the newest last
	asked     time.Time       // when it was last asked
	unheard   int             // questions without an answer since the last one
	announced time.Duration   // of an origin: one way, as this node announces it
}

// A question is a probe that was not answered yet.
type question struct {
	node cdn.NodeID
	at   time.Time
}

// Of returns the Map of a node, which the first call makes. dir is where nodes are
// looked for.
func Of(node *cdn.Node, dir cdn.NodeDirectory) (*Map, error) {
	return service.Shared(node.Internal(), func() (*Map, error) { return newMap(node, dir), nil })
}

func newMap(node *cdn.Node, dir cdn.NodeDirectory) *Map {
	m := &Map{
		node: node, dir: dir, port: node.Internal().Port, jitter: jitter.New("nearby " + string(node.ID())),
		at: make(map[cdn.NodeID]*measured), open: make(map[binding.ID]question), news: make(chan struct{}),
	}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	node.MeasureOrigins(m.Origins)
	m.work.Go(m.refresh)
	m.work.Go(m.run)
	return m
}

// Close ends the measuring and waits for it.
func (m *Map) Close() error {
	m.cancel()
	m.work.Wait()
	m.mu.Lock()
	open := m.open
	m.open = map[binding.ID]question{}
	m.mu.Unlock()
	for id := range open {
		m.port.Unexpect(m, id)
	}
	return nil
}

// Nodes returns the other nodes that have a name, as the directory said last. The
// slice must not be changed.
func (m *Map) Nodes() []cdn.NodeEntry {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.nodes
}

// RTT returns the round trip to a node, and false while it is not known.
func (m *Map) RTT(id cdn.NodeID) (time.Duration, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	a := m.at[id]
	if a == nil || len(a.rtts) == 0 {
		return 0, false
	}
	return slices.Min(a.rtts), true
}

// Distance returns how far an origin is, one way, as this node announces it, and false
// while that is not known.
func (m *Map) Distance(origin cdn.NodeID) (time.Duration, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	a := m.at[origin]
	if a == nil || len(a.rtts) == 0 {
		return 0, false
	}
	return a.announced, true
}

// Origins returns how far the nearest origins are.
func (m *Map) Origins() []cdn.OriginLatency {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []cdn.OriginLatency
	for _, n := range m.nodes {
		if a := m.at[n.Node]; n.Roles.Has(cdn.RoleOrigin) && a != nil && len(a.rtts) > 0 {
			all = append(all, cdn.OriginLatency{Origin: n.Node, Latency: a.announced})
		}
	}
	slices.SortFunc(all, func(x, y cdn.OriginLatency) int {
		return cmp.Or(cmp.Compare(x.Latency, y.Latency), cmp.Compare(x.Origin, y.Origin))
	})
	return all[:min(len(all), cdn.MaxOrigins)]
}

// AwaitMeasured waits until the directory has named the nodes and each of those that wanted
// returns has been measured, or until ctx ends.
func (m *Map) AwaitMeasured(ctx context.Context, wanted func([]cdn.NodeEntry) []cdn.NodeID) {
	for {
		m.mu.Lock()
		news, ok := m.news, m.asked
		if ok {
			for _, id := range wanted(m.nodes) {
				if a := m.at[id]; a != nil && len(a.rtts) == 0 && a.unheard < 2 {
					ok = false
				}
			}
		}
		m.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-news:
		case <-ctx.Done():
			return
		}
	}
}

// tellLocked wakes those who wait for news.
func (m *Map) tellLocked() {
	close(m.news)
	m.news = make(chan struct{})
}

// refresh asks the directory now and again.
func (m *Map) refresh() {
	for m.ctx.Err() == nil {
		ctx, cancel := context.WithTimeout(m.ctx, askTimeout)
		m.ask(ctx)
		cancel()
		select {
		case <-m.ctx.Done():
		case <-time.After(refreshEvery - m.jitter.Below(refreshEvery/5)):
		}
	}
}

// ask asks the directory. What it said last stays if it cannot be asked.
func (m *Map) ask(ctx context.Context) {
	if nodes, err := m.dir.Nodes(ctx); err == nil {
		m.take(nodes)
	}
}

// fresh is for how long what the directory has said is new.
const fresh = 500 * time.Millisecond

// Refresh asks the directory which nodes there are, unless it has said so just now. It
// returns when that has answered, or with ctx.
func (m *Map) Refresh(ctx context.Context) {
	m.mu.Lock()
	known := time.Since(m.askedAt) < fresh
	m.mu.Unlock()
	if !known {
		m.ask(ctx)
	}
}

// take notes which nodes there are.
func (m *Map) take(nodes []cdn.NodeEntry) {
	nodes = slices.DeleteFunc(slices.Clone(nodes), func(n cdn.NodeEntry) bool { return n.Node == "" || n.Node == m.node.ID() })
	nodes = nodes[:min(len(nodes), maxNodes)]
	m.mu.Lock()
	defer m.mu.Unlock()
	m.nodes, m.asked, m.askedAt = nodes, true, time.Now()
	there := make(map[cdn.NodeID]bool, len(nodes))
	for _, n := range nodes {
		there[n.Node] = true
		if m.at[n.Node] == nil && len(n.Addrs) > 0 {
			m.at[n.Node] = &measured{}
		}
	}
	maps.DeleteFunc(m.at, func(id cdn.NodeID, _ *measured) bool { return !there[id] })
	m.tellLocked()
}

// run asks the nodes that are due.
func (m *Map) run() {
	tick := time.NewTicker(beat)
	defer tick.Stop()
	news := m.heard()
	for {
		m.probe(time.Now())
		select {
		case <-m.ctx.Done():
			return
		case <-tick.C:
		case <-news: // perhaps of nodes that were not known
			news = m.heard()
		}
	}
}

func (m *Map) heard() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.news
}

// probe asks those that are due.
func (m *Map) probe(now time.Time) {
	type probe struct {
		id    binding.ID
		addrs []netip.AddrPort
	}
	var probes []probe
	var lost []binding.ID
	m.mu.Lock()
	for id, q := range m.open {
		if now.Sub(q.at) > answerWithin {
			delete(m.open, id)
			lost = append(lost, id)
			if a := m.at[q.node]; a != nil {
				a.unheard++
			}
		}
	}
	var often map[cdn.NodeID]bool // nil: at most beats nobody is due, whoever is asked often
	for _, n := range m.nodes {
		a := m.at[n.Node]
		if a == nil || len(probes) >= mostAtOnce || now.Sub(a.asked) < a.wait(true) {
			continue
		}
		if often == nil {
			often = m.oftenLocked()
		}
		if now.Sub(a.asked) < a.wait(often[n.Node]) {
			continue
		}
		a.asked = now
		id := binding.NewID()
		m.open[id] = question{n.Node, now}
		probes = append(probes, probe{id, n.Addrs})
	}
	m.mu.Unlock()
	for _, id := range lost {
		m.port.Unexpect(m, id)
	}
	for _, p := range probes {
		request, err := binding.Request(p.id)
		if err != nil {
			continue // it can be built
		}
		m.port.Expect(p.id, m)
		for _, addr := range p.addrs[:min(len(p.addrs), maxAddrs)] {
			_ = m.port.Send(request, addr) // lost, it is asked again
		}
	}
	if len(probes) > 0 {
		m.port.Kick() // the answers must not wait to be read
	}
}

// maxAddrs is at how many of its addresses a node is asked: the first answer counts.
const maxAddrs = 3

// wait returns how long after the last question a node is asked again.
func (a *measured) wait(often bool) time.Duration {
	switch {
	case a.unheard > 0:
		return min(answerWithin<<min(a.unheard, 5), measureFar)
	case len(a.rtts) == 0:
		return answerWithin
	case often:
		return measureEvery
	}
	return measureFar
}

// oftenLocked returns the nodes that are measured often.
func (m *Map) oftenLocked() map[cdn.NodeID]bool {
	often := make(map[cdn.NodeID]bool)
	var others []cdn.NodeID
	for _, n := range m.nodes {
		a := m.at[n.Node]
		switch {
		case a == nil || len(a.rtts) == 0:
		case n.Roles.Has(cdn.RoleOrigin):
			often[n.Node] = true
		default:
			others = append(others, n.Node)
		}
	}
	if len(others) > closest {
		slices.SortFunc(others, func(x, y cdn.NodeID) int { return cmp.Compare(slices.Min(m.at[x].rtts), slices.Min(m.at[y].rtts)) })
	}
	for _, id := range others[:min(len(others), closest)] {
		often[id] = true
	}
	return often
}

// Receive takes an answer. The port's reader calls it.
func (m *Map) Receive(_, arrived time.Time, packet []byte, _ netip.AddrPort) (routine bool) {
	id, ok := binding.AnsweredID(packet)
	if !ok {
		return true
	}
	m.mu.Lock()
	q, ok := m.open[id]
	delete(m.open, id)
	news := false
	if a := m.at[q.node]; ok && a != nil {
		news = a.add(arrived.Sub(q.at))
		m.tellLocked()
	}
	m.mu.Unlock()
	if ok {
		m.port.Unexpect(m, id)
	}
	if news {
		m.node.Internal().EntryChanged()
	}
	return true
}

// add takes a round trip, and reports whether what is announced has changed.
func (a *measured) add(rtt time.Duration) (news bool) {
	if a.unheard = 0; len(a.rtts) == samples {
		a.rtts = append(a.rtts[:0], a.rtts[1:]...)
	}
	a.rtts = append(a.rtts, max(rtt, time.Microsecond))
	way := slices.Min(a.rtts) / 2
	apart := (way - a.announced).Abs()
	if len(a.rtts) > 1 && (apart < announceApart || apart < a.announced/announcePart) {
		return false
	}
	a.announced = way
	return true
}
