// Package relay brings streams from other nodes. A [Relay] is a [cdn.Source] that fetches
// a stream when it is first opened, and keeps it while somebody has it open. A [Server]
// gives the streams of a Source to the relays of other nodes. A node that does both is a
// link in a chain of any length.
package relay

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/jitter"
	"github.com/deltacdn/delta/internal/route"
	"github.com/deltacdn/delta/internal/trouble"
)

// Config sets up a [Relay].
type Config struct {
	// Directory says which nodes have a stream. Required.
	Directory cdn.Directory
	// Fetcher brings a stream from one node. If nil, a [Link], and [WHEP] from
	// nodes that know no links, with the Credential below.
	Fetcher Fetcher
	// Credential is the bearer token shown to other nodes, if any. Over WHEP it replaces
	// the proof that this node knows [cdn.Trust].Secret.
	Credential string
	// Linger is how long a stream is kept after the last subscription to it is closed. If
	// zero, 5 s; if negative, not at all.
	Linger time.Duration
	// FindTimeout bounds a request to the Directory. If zero, 3 s.
	FindTimeout time.Duration
	// GiveUp is how long the Relay tries to fetch a stream again that broke off; then it
	// ends. Its viewers stay meanwhile. If zero, 15 s.
	GiveUp time.Duration
	// NegativeTTL is how long a failure to fetch a stream is cached: until then Open fails
	// with it. If zero, 1 s.
	NegativeTTL time.Duration
}

func (c Config) withDefaults(node *cdn.Node) (Config, error) {
	if c.Directory == nil {
		return c, fmt.Errorf("%w: no directory", cdn.ErrInvalid)
	}
	if c.Fetcher == nil {
		var err error
		c.Fetcher, err = NewLink(node, LinkConfig{Credential: c.Credential, Fallback: NewWHEP(node, WHEPConfig{Credential: c.Credential})})
		if err != nil {
			return c, err
		}
	}
	if c.Linger == 0 {
		c.Linger = 5 * time.Second
	}
	for _, d := range []struct {
		v   *time.Duration
		def time.Duration
	}{{&c.FindTimeout, 3 * time.Second}, {&c.GiveUp, 15 * time.Second}, {&c.NegativeTTL, time.Second}} {
		if *d.v <= 0 {
			*d.v = d.def
		}
	}
	return c, nil
}

// A Relay fetches streams from other nodes. Its methods may be called
// concurrently.
type Relay struct {
	node   *cdn.Node
	config Config
	links  LinkFetcher // the Fetcher; nil: it is none
	routes routes
	work   sync.WaitGroup  // fetches and their timers
	ctx    context.Context // of what is kept ready
	cancel context.CancelFunc

	mu      sync.Mutex
	fetches map[cdn.StreamID]*fetch
	failed  map[cdn.StreamID]failure
	entries []cdn.Entry // points of entry
	moved   time.Time   // when a stream was last moved to a better node
	closed  bool
}

// failure is a cached answer.
type failure struct {
	err   error
	until time.Time
}

// maxFailures bounds what is remembered of streams that failed, and of nodes. What does
// not fit is asked for again.
const maxFailures = 1000

// New makes a Relay on node, which closes it when it is closed itself.
func New(node *cdn.Node, c Config) (*Relay, error) {
	c, err := c.withDefaults(node)
	if err != nil {
		return nil, &cdn.Error{Op: "new relay", Err: err}
	}
	r := &Relay{
		node: node, config: c,
		fetches: make(map[cdn.StreamID]*fetch),
		failed:  make(map[cdn.StreamID]failure),
	}
	r.links, _ = c.Fetcher.(LinkFetcher)
	if r.routes, err = routesOf(node, c.Directory); err != nil {
		return nil, &cdn.Error{Op: "new relay", Err: err}
	}
	if r.routes.near != nil {
		r.routes.links.Suggest(r.routes.suggest(c.Directory))
	}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	if dir, ok := c.Directory.(cdn.NodeDirectory); ok {
		// Where it answers at once, Ready knows them from the start.
		if err := r.noteEntries(dir, refreshTimeout); errors.As(err, new(*cdn.EntryError)) {
			r.cancel()
			return nil, &cdn.Error{Op: "new relay", Err: err}
		}
	}
	r.work.Go(r.keepLinks)
	node.Own(r)
	return r, nil
}

// keepEvery is how often the points of entry are asked for: their names may come to stand
// for other nodes.
const keepEvery = 5 * time.Second

// keepLinks keeps links ready with the points of entry, where they are known, until the
// Relay is closed, so that a first viewer need not wait for one.
func (r *Relay) keepLinks() {
	dir, ok := r.config.Directory.(cdn.NodeDirectory)
	if !ok || r.links == nil {
		return
	}
	kept := make(map[string]context.CancelFunc)
	defer func() {
		for _, leave := range kept {
			leave()
		}
	}()
	for {
		_ = r.noteEntries(dir, r.config.FindTimeout) // those that are known stay
		r.mu.Lock()
		entries := r.entries
		r.mu.Unlock()
		for place, leave := range kept {
			if !slices.ContainsFunc(entries, func(e cdn.Entry) bool { return e.Place() == place }) {
				leave()
				delete(kept, place)
			}
		}
		for _, e := range entries {
			if kept[e.Place()] == nil {
				ctx, cancel := context.WithCancel(r.ctx)
				kept[e.Place()] = cancel
				r.work.Go(func() { r.links.Keep(ctx, e) })
			}
		}
		select {
		case <-time.After(keepEvery):
		case <-r.ctx.Done():
			return
		}
	}
}

// noteEntries asks for the points of entry: nodes of which only the address is known. If
// the directory does not answer, they stay those of its last answer.
func (r *Relay) noteEntries(dir cdn.NodeDirectory, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(r.ctx, timeout)
	defer cancel()
	nodes, err := dir.Nodes(ctx)
	if err != nil {
		return err
	}
	var entries []cdn.Entry
	for _, n := range nodes {
		if n.Node == "" {
			entries = append(entries, cdn.Entry{URL: n.URL, At: n.At})
		}
	}
	r.mu.Lock()
	r.entries = entries
	r.mu.Unlock()
	return nil
}

// Ready reports whether streams can be fetched: a node that the Directory names for all
// streams ([cdn.Static], [cdn.DNS]) can be reached. Where it names none, or the Fetcher is
// no [LinkFetcher], Ready is true, and only a fetch shows whether it can be done.
func (r *Relay) Ready() bool {
	r.mu.Lock()
	entries := r.entries
	r.mu.Unlock()
	return len(entries) == 0 || slices.ContainsFunc(entries, func(e cdn.Entry) bool {
		yes, _ := r.reaches(e)
		return yes
	})
}

// Fetches reports that the Relay fetches any stream that is opened. The node of a [Server]
// of such a Source is announced as a relay.
func (r *Relay) Fetches() bool { return true }

// Open returns the stream at once, and has it fetched if it is not here. Any number of
// subscriptions share one fetch.
func (r *Relay) Open(ctx context.Context, req cdn.Request) (*cdn.Subscription, error) {
	id, err := cdn.ParseStreamID(string(req.Stream))
	if err != nil {
		return nil, &cdn.Error{Op: "fetch", Err: err}
	}
	switch {
	case slices.Contains(req.Path, r.node.ID()):
		return nil, &cdn.Error{Op: "fetch", Stream: id, Err: cdn.ErrLoop}
	case len(req.Path) >= route.MaxHops:
		return nil, &cdn.Error{Op: "fetch", Stream: id, Err: fmt.Errorf("%w: the request came through %d nodes", cdn.ErrLoop, len(req.Path))}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, &cdn.Error{Op: "fetch", Stream: id, Err: cdn.ErrClosed}
	}
	f := r.fetches[id]
	if f == nil {
		if f, err = r.startLocked(ctx, id, req.Path); err != nil {
			return nil, err
		}
	}
	if f.comesThroughLocked(req.Path) {
		return nil, &cdn.Error{Op: "fetch", Stream: id, Err: cdn.ErrLoop}
	}
	f.wantLocked()
	return cdn.NewSubscription(f.stream, func() { r.release(f) }), nil
}

func (r *Relay) startLocked(request context.Context, id cdn.StreamID, path []cdn.NodeID) (*fetch, error) {
	if known, ok := r.failed[id]; ok {
		if time.Now().Before(known.until) {
			return nil, known.err
		}
		delete(r.failed, id)
	}
	s, err := r.node.NewFetchedStream(id)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	f := &fetch{relay: r, stream: s, path: append(slices.Clone(path), r.node.ID()), ctx: ctx, cancel: cancel, jitter: jitter.New("fetch " + string(r.node.ID()) + " " + string(id)), chosen: make(chan struct{}, 1)}
	r.fetches[id] = f
	f.trace(request)
	if r.announces() {
		r.work.Go(f.announce)
	}
	r.work.Go(func() { r.finish(f, f.run(ctx)) })
	return f, nil
}

// finish ends the stream of a fetch that is over, and caches its failure.
func (r *Relay) finish(f *fetch, err error) {
	id := f.stream.ID()
	err = trouble.Upstream(id, err)
	r.mu.Lock()
	if r.fetches[id] == f {
		delete(r.fetches, id)
	}
	if f.stream.Tracks() == nil && !errors.Is(err, cdn.ErrClosed) && !errors.Is(err, cdn.ErrLoop) { // a loop is one for this request only
		if len(r.failed) >= maxFailures {
			clear(r.failed)
		}
		r.failed[id] = failure{err: err, until: time.Now().Add(r.config.NegativeTTL)}
	}
	f.stopLocked()
	r.mu.Unlock()
	f.stream.End(err)
}

// release closes one subscription.
func (r *Relay) release(f *fetch) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f.wants--
	if f.wants > 0 || f.over {
		return
	}
	if r.config.Linger < 0 || r.closed {
		r.dropLocked(f)
		return
	}
	r.work.Add(1)
	var timer *time.Timer
	timer = time.AfterFunc(r.config.Linger, func() {
		defer r.work.Done()
		r.mu.Lock()
		defer r.mu.Unlock()
		if f.linger == timer && f.wants == 0 {
			r.dropLocked(f)
		}
	})
	f.linger = timer
}

// dropLocked ends a fetch that nobody wants. The next Open starts another.
func (r *Relay) dropLocked(f *fetch) {
	f.cancel()
	if id := f.stream.ID(); r.fetches[id] == f {
		delete(r.fetches, id)
	}
}

// Close ends all fetches and their streams and waits for them.
func (r *Relay) Close() error {
	r.mu.Lock()
	r.closed = true
	r.cancel()
	for _, f := range r.fetches {
		f.cancel()
	}
	r.mu.Unlock()
	r.work.Wait()
	return nil
}
