package relay

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/link"
	"github.com/deltacdn/delta/internal/service"
	"github.com/deltacdn/delta/internal/trouble"
	"github.com/deltacdn/delta/internal/trouble/reason"
	"github.com/deltacdn/delta/signal"
	signallink "github.com/deltacdn/delta/signal/link"
)

// LinkConfig sets up a [Link] fetcher.
type LinkConfig struct {
	// Dialer carries offers of links. If nil, HTTP.
	Dialer signal.LinkDialer
	// Credential is shown to other nodes with each stream that is requested.
	Credential string
	// Silence is how long a stream may bring nothing until its fetch is given up, unless
	// another node was found to have no more of it. If zero, 5 s. A node that is gone is
	// noticed within half a second.
	Silence time.Duration
	// Fallback fetches from nodes that know no links, or have no kind of address in
	// common with this one. If nil, nothing is fetched from those.
	Fallback Fetcher
}

// Link is a [Fetcher] that has all streams from another node over one standing
// connection with it, which the first fetch makes. On a connection that stands, a stream
// is here one round trip after its request, from its newest keyframe on.
type Link struct {
	node   *cdn.Node
	links  *link.Links
	config LinkConfig

	mu          sync.Mutex
	noLinks     ttlMap[error]    // places that know no links; why nothing there looks like a node, or nil
	unreachable ttlMap[struct{}] // places of nodes with which no link came up, or whose link was lost
	exhausted   ttlMap[struct{}] // streams of which no node had more
}

const (
	// noLinksFor is how long a node that knew no links is asked for its streams one by one.
	noLinksFor = time.Minute
	// unreachableFor is how long a node counts as lost if nobody tries to reach it again.
	unreachableFor = 30 * time.Second
	// exhaustedFor is how long a stream counts as silent everywhere if nobody probes it
	// again.
	exhaustedFor = maxProbePause + 2*probeFor
)

// A ttlMap remembers values for a while.
type ttlMap[V any] map[string]expiring[V]

type expiring[V any] struct {
	value V
	until time.Time
}

// set remembers a value under a key for d.
func (m ttlMap[V]) set(key string, value V, d time.Duration) {
	if len(m) >= maxFailures {
		clear(m)
	}
	m[key] = expiring[V]{value, time.Now().Add(d)}
}

// get returns the value under a key, and false if there is none any more.
func (m ttlMap[V]) get(key string) (value V, ok bool) {
	e, ok := m[key]
	if ok && time.Now().After(e.until) {
		delete(m, key)
		return value, false
	}
	return e.value, ok
}

// NewLink returns a fetcher for node.
func NewLink(node *cdn.Node, c LinkConfig) (*Link, error) {
	if c.Dialer == nil {
		c.Dialer = &signallink.Client{}
	}
	if c.Silence <= 0 {
		c.Silence = 5 * time.Second
	}
	links, err := linksOf(node)
	if err != nil {
		return nil, &cdn.Error{Op: "new link", Err: err}
	}
	return &Link{node: node, links: links, config: c, noLinks: ttlMap[error]{}, unreachable: ttlMap[struct{}]{}, exhausted: ttlMap[struct{}]{}}, nil
}

// linksOf returns the links of a node, which what fetches and what serves share.
func linksOf(node *cdn.Node) (*link.Links, error) {
	return service.Shared(node.Internal(), func() (*link.Links, error) { return link.New(node) })
}

// Fetch implements [Fetcher].
func (f *Link) Fetch(ctx context.Context, from cdn.Entry, r cdn.Request, s *cdn.Stream) error {
	if f.knowsNoLinks(from) {
		return f.fallBack(ctx, from, r, s)
	}
	c := f.fetchConfig(r)
	asking, steps := f.subscribing(ctx, from, f.links.Leads(from))
	c.Trace = cdn.TraceOf(asking)
	if steps != nil {
		c.Up, c.Accepted, c.Began = steps.up, steps.accepted, steps.began
	}
	err := f.links.Fetch(ctx, from, c, s)
	steps.over(err)
	f.noteLost(from, err)
	if errors.Is(err, link.ErrNone) && f.config.Fallback != nil {
		f.noteReach(from, err)
		return f.fallBack(ctx, from, r, s)
	}
	return err
}

// fallBack fetches from a node that knows no links. Where something answers that is not a
// node at all, the error says so: a viewer must not read that nobody publishes the stream.
func (f *Link) fallBack(ctx context.Context, from cdn.Entry, r cdn.Request, s *cdn.Stream) error {
	err := f.config.Fallback.Fetch(ctx, from, r, s)
	f.mu.Lock()
	noNode, _ := f.noLinks.get(from.Place())
	f.mu.Unlock()
	if noNode != nil && (errors.Is(err, cdn.ErrNotFound) || reason.Refused(err) != nil) {
		return noNode
	}
	return err
}

func (f *Link) fetchConfig(r cdn.Request) link.FetchConfig {
	return link.FetchConfig{
		Request: r, Credential: f.config.Credential, Dialer: f.config.Dialer, Silence: f.config.Silence,
		Excused: func() bool {
			f.mu.Lock()
			defer f.mu.Unlock()
			_, yes := f.exhausted.get(string(r.Stream))
			return yes
		},
	}
}

// Probe implements [LinkFetcher]. A node without links cannot be probed.
func (f *Link) Probe(ctx context.Context, from cdn.Entry, r cdn.Request, s *cdn.Stream) error {
	if f.knowsNoLinks(from) {
		return &cdn.Error{Op: "probe", Stream: r.Stream, Err: cdn.ErrUnsupported}
	}
	c := f.fetchConfig(r)
	c.Standby = true
	err := f.links.Fetch(ctx, from, c, s)
	if errors.Is(err, link.ErrAhead) {
		return nil
	}
	if errors.Is(err, context.DeadlineExceeded) && f.links.Leads(from) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.exhausted.set(string(r.Stream), struct{}{}, exhaustedFor)
	}
	return err
}

// Keep implements [LinkFetcher]: it keeps a link with the node of an entry until ctx ends, so
// that a fetch need not wait for one.
func (f *Link) Keep(ctx context.Context, to cdn.Entry) {
	f.links.Keep(ctx, to, f.config.Dialer, func(err error) { f.noteReach(to, err) })
}

// noteReach notes whether a link with the node of an entry is up (nil), or why not.
func (f *Link) noteReach(to cdn.Entry, err error) {
	place := to.Place()
	report(f.links, to, err)
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case err == nil:
		delete(f.noLinks, place)
		delete(f.unreachable, place)
	case !errors.Is(err, link.ErrNone):
		f.unreachable.set(place, struct{}{}, unreachableFor)
	case errors.As(err, new(*trouble.ForeignError)):
		f.noLinks.set(place, err, noLinksFor)
	default:
		f.noLinks.set(place, nil, noLinksFor)
	}
}

// Reaches implements [LinkFetcher]: by a link that is up, or, where there are none,
// stream by stream.
func (f *Link) Reaches(to cdn.Entry) (yes, known bool) {
	if f.links.Leads(to) || f.knowsNoLinks(to) {
		return true, true
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	_, known = f.unreachable.get(to.Place())
	return false, known
}

// noteLost notes that a node could not be reached, or was lost, if that is why err.
func (f *Link) noteLost(to cdn.Entry, err error) {
	if errors.Is(err, cdn.ErrPeerLost) && !errors.Is(err, link.ErrMoved) && !f.links.Leads(to) {
		f.noteReach(to, err)
	}
}

// knowsNoLinks reports whether streams are fetched from a node one by one.
func (f *Link) knowsNoLinks(to cdn.Entry) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, yes := f.noLinks.get(to.Place())
	return yes && f.config.Fallback != nil
}

// LinkStats is a snapshot of a link.
type LinkStats struct {
	Node     cdn.NodeID // the other node
	URL      string     // of its signaling, which was dialled; "" where the other node dialled
	PeerURL  string     // of its signaling, as the other node says; "" if it does not
	Up       time.Time  // when the link came up
	RTT      time.Duration
	Loss     float64 // share of probes lost, 0 to 1
	Load     float64 // of the other node: the share of its capacity in use, 0 to 1
	Received uint64  // bytes of media
	Sent     uint64  // bytes of media
	// BitrateIn and BitrateOut are bits of media a second, over the last second or so.
	BitrateIn, BitrateOut float64

	// Estimate is what the path to the other node carries, in bits a second, while it is
	// watched since something was wrong; 0: nothing is. HeldBack are the streams that are
	// not sent in all the layers that the other node wants, since the path does not carry
	// them.
	Estimate float64
	HeldBack []cdn.StreamID

	Fetched []cdn.StreamID // streams that come over the link
	Served  []cdn.StreamID // streams that go out over the link
}

// Links returns a snapshot of a node's links that are up.
func Links(node *cdn.Node) []LinkStats {
	links, err := linksOf(node)
	if err != nil {
		return nil
	}
	var all []LinkStats
	for _, l := range links.Stats() {
		all = append(all, LinkStats(l))
	}
	return all
}

// Move implements [LinkFetcher].
func (f *Link) Move(ctx context.Context, from cdn.Entry, r cdn.Request, s *cdn.Stream) error {
	if f.knowsNoLinks(from) {
		return &cdn.Error{Op: "move", Stream: r.Stream, Err: cdn.ErrUnsupported}
	}
	c := f.fetchConfig(r)
	c.Handover = true
	err := f.links.Fetch(ctx, from, c, s)
	f.noteLost(from, err)
	return err
}
