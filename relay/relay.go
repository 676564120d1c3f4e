// Package relay brings streams from other nodes. A [Relay] is a [cdn.Source]
// that fetches a stream when it is first opened and keeps it while it is
// wanted; a [Server] gives the streams of a Source to the relays of other
// nodes. A node that does both stands in the middle of a chain, which may have
// any length.
package relay

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/reason"
)

// Config sets up a [Relay].
type Config struct {
	// Directory tells which nodes have a stream. Required.
	Directory cdn.Directory
	// Fetcher brings a stream from one node. If nil, a [Link], and [WHEP] from
	// nodes that know no links, with the Credential below.
	Fetcher Fetcher
	// Credential is the bearer token shown to other nodes, if any. By WHEP it takes
	// the place of the proof that this node knows [cdn.Trust].Secret.
	Credential string
	// Linger is how long a stream is kept after the last one who wanted it has
	// gone. If zero, 5 s; if negative, not at all.
	Linger time.Duration
	// FindTimeout bounds a question to the Directory. If zero, 3 s.
	FindTimeout time.Duration
	// GiveUp is how long a stream that broke off is tried to be had again
	// before it ends. Its viewers stay meanwhile. If zero, 15 s.
	GiveUp time.Duration
	// NegativeTTL is how long a failure to get a stream is the answer for all
	// who ask. If zero, 1 s.
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

// A Fetcher brings one stream from another node. Fetch adds an input to s,
// feeds it, and returns when that has ended; ctx ends it. Errors wrap the
// sentinels of package cdn: with [cdn.ErrEnded] the publisher has ended the
// stream, with [cdn.ErrNotFound] the node does not have it, and all others may
// pass. Fetch is called concurrently for different streams.
type Fetcher interface {
	Fetch(ctx context.Context, from cdn.Entry, r cdn.Request, s *cdn.Stream) error
}

// A Relay fetches streams from other nodes. Its methods may be called
// concurrently.
type Relay struct {
	node   *cdn.Node
	config Config
	work   sync.WaitGroup  // fetches and their timers
	ctx    context.Context // of what is kept ready
	cancel context.CancelFunc

	mu      sync.Mutex
	fetches map[cdn.StreamID]*fetch
	failed  map[cdn.StreamID]failure
	warned  beliefs // nodes of whose refusals a warning has been logged
	closed  bool
}

// failure is a cached answer.
type failure struct {
	err   error
	until time.Time
}

// maxFailures bounds what is remembered of streams that failed, and of nodes: what
// does not fit is asked for anew.
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
		warned:  beliefs{},
	}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	r.keepLinks()
	node.Own(r)
	return r, nil
}

// keepLinks keeps links ready with the points of entry, where they are known: a
// first viewer need not wait for one then.
func (r *Relay) keepLinks() {
	keeper, ok := r.config.Fetcher.(Keeper)
	if !ok {
		return
	}
	for _, e := range r.entries() {
		r.work.Go(func() { keeper.Keep(r.ctx, e) })
	}
}

// entries returns the points of entry, none where they are not known.
func (r *Relay) entries() []cdn.Entry {
	if known, ok := r.config.Directory.(interface{ Nodes() []cdn.Entry }); ok {
		return known.Nodes()
	}
	return nil
}

// Ready reports whether streams can be fetched: a node that the Directory names
// for all of them ([cdn.Static]) can be reached. Where it names none, or the
// Fetcher is no [Reacher], that turns out only when a stream is wanted.
func (r *Relay) Ready() bool {
	reacher, ok := r.config.Fetcher.(Reacher)
	entries := r.entries()
	return !ok || len(entries) == 0 || slices.ContainsFunc(entries, func(e cdn.Entry) bool {
		yes, _ := reacher.Reaches(e)
		return yes
	})
}

// Open returns the stream at once, while it is fetched if it is not here yet.
// However many open it, one fetch runs.
func (r *Relay) Open(_ context.Context, req cdn.Request) (*cdn.Subscription, error) {
	id, err := cdn.ParseStreamID(string(req.Stream))
	if err != nil {
		return nil, &cdn.Error{Op: "fetch", Err: err}
	}
	if slices.Contains(req.Path, r.node.ID()) {
		return nil, &cdn.Error{Op: "fetch", Stream: id, Err: cdn.ErrLoop}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, &cdn.Error{Op: "fetch", Stream: id, Err: cdn.ErrClosed}
	}
	f := r.fetches[id]
	if f == nil {
		if f, err = r.startLocked(id, req.Path); err != nil {
			return nil, err
		}
	}
	if f.comesThroughLocked(req.Path) {
		return nil, &cdn.Error{Op: "fetch", Stream: id, Err: cdn.ErrLoop}
	}
	f.wantLocked()
	return cdn.NewSubscription(f.stream, func() { r.release(f) }), nil
}

func (r *Relay) startLocked(id cdn.StreamID, path []cdn.NodeID) (*fetch, error) {
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
	f := &fetch{relay: r, stream: s, path: append(slices.Clone(path), r.node.ID()), cancel: cancel}
	r.fetches[id] = f
	r.work.Go(func() { r.finish(f, f.run(ctx)) })
	return f, nil
}

// finish ends the fetch's stream and remembers a failure.
func (r *Relay) finish(f *fetch, err error) {
	id := f.stream.ID()
	err = reason.Upstream(id, err)
	r.mu.Lock()
	if r.fetches[id] == f {
		delete(r.fetches, id)
	}
	if f.stream.Tracks() == nil && !errors.Is(err, cdn.ErrClosed) {
		if len(r.failed) >= maxFailures {
			clear(r.failed)
		}
		r.failed[id] = failure{err: err, until: time.Now().Add(r.config.NegativeTTL)}
	}
	f.stopLocked()
	r.mu.Unlock()
	f.stream.End(err)
}

// warnEvery is how often a warning tells of one node's refusals.
const warnEvery = time.Minute

// refused logs that a node refuses to give this one a stream, if that is why err.
func (r *Relay) refused(from cdn.Entry, id cdn.StreamID, err error) {
	why := reason.Refused(err)
	if why == nil {
		return
	}
	key := from.URL + " " + reason.Word(why)
	r.mu.Lock()
	warned := r.warned.hold(key)
	if !warned {
		r.warned.note(key, warnEvery)
	}
	r.mu.Unlock()
	if !warned {
		r.node.Logger().Warn("another node refuses this one", "url", from.URL, "stream", string(id), "err", err)
	}
}

// release gives one share of the demand back.
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

// dropLocked ends a fetch that nobody wants, so that who comes now starts
// another.
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
