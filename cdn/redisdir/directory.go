package redisdir

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/replica"
)

const (
	// DefaultPrefix is what keys begin with if [Config] does not say.
	DefaultPrefix = "delta"

	probeEvery = time.Second
	patience   = 2 * time.Second        // with an engine that does not answer
	readWithin = 500 * time.Millisecond // then the replica has to do
	startWait  = time.Second
	inboxSize  = 1 << 15
	// goneFor is how long a withdrawal is stored.
	goneFor = time.Minute
	maxOwed = 1 << 14
)

// Config is what a [Directory] is made with. The zero value is good.
type Config struct {
	// Prefix is what keys and the channel begin with; the directories of one network
	// have the same. It must not contain "{", "}" or spaces. If empty, [DefaultPrefix].
	// A user of Redis needs to be allowed the keys Prefix + ":*", the channel Prefix +
	// ":announce", and the commands EVAL, EVALSHA, HDEL, HGET, HGETALL, HSET, PEXPIRE,
	// PING, PTTL, PUBLISH, SUBSCRIBE, TIME, UNSUBSCRIBE, ZADD, ZRANGEBYSCORE and ZREM.
	Prefix string
	// Hold is how long announcements are kept after their leases while Redis is away.
	// If zero, an hour.
	Hold time.Duration
	// Limit is how many announcements are kept, of all nodes together. If zero, 131072.
	Limit int
	// Logger gets what an operator should know. If nil, nothing is logged.
	Logger *slog.Logger

	// For tests:
	now  func() time.Time // where numbers are taken from
	deaf *atomic.Bool     // what others announce does not arrive
}

func (c Config) withDefaults() (Config, error) {
	c.Prefix = cmp.Or(c.Prefix, DefaultPrefix)
	if strings.ContainsAny(c.Prefix, "{} \t\r\n") {
		return c, fmt.Errorf("%w: prefix %q has braces or spaces", cdn.ErrInvalid, c.Prefix)
	}
	if c.Hold < 0 || c.Limit < 0 {
		return c, fmt.Errorf("%w: Hold %v, Limit %d", cdn.ErrInvalid, c.Hold, c.Limit)
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c, nil
}

// Directory is a [cdn.NodeDirectory] and a [cdn.Watcher] on Redis. Its methods may be
// called concurrently. They wait for Redis no longer than two seconds, and not at all
// while it is known to be away.
type Directory struct {
	// static
	client redis.UniversalClient
	config Config
	set    *replica.Set
	feed   *redis.PubSub
	inbox  chan string     // what was published, and the answers to PINGs on the feed
	ctx    context.Context // until Close
	cancel context.CancelFunc
	work   sync.WaitGroup // the goroutines: keepEngine, keepFeed, receive

	kicked chan struct{} // holds one item if Redis is to be looked at now
	begun  chan struct{} // closed when Redis has answered for the first time
	pongs  chan string   // from receive to keepEngine
	unread atomic.Bool   // the nodes' own entries have not been read since the last gap

	objections replica.Objections // owned by receive

	// mu is taken ahead of the set's. It is not held while waiting for Redis.
	mu    sync.Mutex
	state state
	owed  map[replica.Key]replica.Value // withdrawals that could not be stored
	stats Stats
}

// Stats is what a [Directory] tells of itself.
type Stats struct {
	// Away: Redis does not answer. Since is when that, or its opposite, began.
	Away  bool
	Since time.Time
	// Entries and Nodes are how many announcements are known.
	Entries, Nodes int
	// Sent counts what was stored or withdrawn, Read the hashes read, Received the
	// messages. Refused counts announcements that could not be read, or for which there
	// was no room.
	Sent, Read, Received, Refused uint64
}

var (
	_ cdn.NodeDirectory = (*Directory)(nil)
	_ cdn.Watcher       = (*Directory)(nil)
)

// New returns the directory of a node on the Redis that client is for, which remains
// the caller's: it is to be closed after the Directory. New waits up to a second for
// Redis; it need not be there yet.
//
// New fails with an error wrapping [cdn.ErrInvalid] for a Config that makes no sense,
// and for a client whose option ContextTimeoutEnabled is not set: its calls would not
// end in time. It fails with [cdn.ErrUnsupported] for a [redis.Ring].
func New(client redis.UniversalClient, c Config) (*Directory, error) {
	d, err := newDirectory(client, c)
	if err != nil {
		return nil, &cdn.Error{Op: "new Redis directory", Err: err}
	}
	return d, nil
}

func newDirectory(client redis.UniversalClient, c Config) (*Directory, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := checkClient(client); err != nil {
		return nil, err
	}
	d := &Directory{
		client: client, config: c,
		set:    replica.NewSet(replica.Config{Limit: c.Limit, Hold: c.Hold, Now: c.now}),
		inbox:  make(chan string, inboxSize),
		kicked: make(chan struct{}, 1),
		begun:  make(chan struct{}),
		pongs:  make(chan string, 1),
		owed:   make(map[replica.Key]replica.Value),
		state:  state{away: true, since: time.Now(), why: fmt.Errorf("%w: it has not answered yet", replica.ErrAway), failed: make(map[cdn.StreamID]bool)},
	}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	d.unread.Store(true)
	d.feed = client.Subscribe(d.ctx) // connects with the first channel
	d.work.Go(d.keepFeed)
	d.work.Go(d.receive)
	d.work.Go(d.keepEngine)
	select {
	case <-d.begun:
	case <-time.After(startWait):
	}
	return d, nil
}

func checkClient(client redis.UniversalClient) error {
	var heeds bool
	switch c := client.(type) {
	case nil:
		return fmt.Errorf("%w: no client", cdn.ErrInvalid)
	case *redis.Client:
		heeds = c.Options().ContextTimeoutEnabled
	case *redis.ClusterClient:
		heeds = c.Options().ContextTimeoutEnabled
	case *redis.Ring:
		return fmt.Errorf("%w: a Ring publishes to one of its servers only", cdn.ErrUnsupported)
	default:
		heeds = true // whoever makes clients knows
	}
	if !heeds {
		return fmt.Errorf("%w: the client needs the option ContextTimeoutEnabled", cdn.ErrInvalid)
	}
	return nil
}

// Close ends the directory and waits for its goroutines: no longer than the client's
// timeouts. What the node announced stays with the others until it is removed, or its
// lease ends. Close is idempotent; all other methods fail from now on with an error
// wrapping [cdn.ErrClosed].
func (d *Directory) Close() error {
	d.cancel()
	_ = d.feed.Close() // it may have been closed
	d.work.Wait()
	d.set.Close()
	return nil
}

// Put implements [cdn.Directory]. It fails with an error wrapping [replica.ErrAway] if
// Redis is away, [cdn.ErrForbidden] or [cdn.ErrUnauthorized] if it refuses, and
// [cdn.ErrInvalid] for an entry that cannot be announced.
func (d *Directory) Put(ctx context.Context, e cdn.Entry, ttl time.Duration) error {
	if err := d.announce(ctx, replica.Value{Lease: ttl, Entry: &e}); err != nil {
		return &cdn.Error{Op: "announce", Stream: e.Stream, Err: err}
	}
	return nil
}

// PutNode implements [cdn.NodeDirectory], as [Directory.Put] does.
func (d *Directory) PutNode(ctx context.Context, n cdn.NodeEntry, ttl time.Duration) error {
	if err := d.announce(ctx, replica.Value{Lease: ttl, Node: &n}); err != nil {
		return &cdn.Error{Op: "announce node", Err: err}
	}
	return nil
}

// Remove implements [cdn.Directory]. If Redis is away it fails with an error wrapping
// [replica.ErrAway], and the withdrawal is stored when Redis is back, unless the
// directory is closed by then.
func (d *Directory) Remove(ctx context.Context, e cdn.Entry) error {
	if err := d.withdraw(ctx, replica.Gone{Stream: e.Stream, Node: e.Node, Epoch: e.Epoch}); err != nil {
		return &cdn.Error{Op: "withdraw", Stream: e.Stream, Err: err}
	}
	return nil
}

// RemoveNode implements [cdn.NodeDirectory], as [Directory.Remove] does.
func (d *Directory) RemoveNode(ctx context.Context, id cdn.NodeID) error {
	if err := d.withdraw(ctx, replica.Gone{Node: id}); err != nil {
		return &cdn.Error{Op: "withdraw node", Err: err}
	}
	return nil
}

// Find implements [cdn.Directory]. It reads from Redis for up to half a second, and
// answers from the replica. It fails with an error wrapping [replica.ErrAway] only if
// Redis does not answer and nothing is known of the stream.
func (d *Directory) Find(ctx context.Context, id cdn.StreamID) ([]cdn.Entry, error) {
	if err := d.refresh(ctx, id); err != nil {
		if entries := d.set.Find(id); len(entries) > 0 && errors.Is(err, replica.ErrAway) {
			return entries, nil
		}
		return nil, &cdn.Error{Op: "find", Stream: id, Err: err}
	}
	return d.set.Find(id), nil
}

// Nodes implements [cdn.NodeDirectory]. It reads from Redis at the start and after a
// gap, and answers from the replica; errors are as those of [Directory.Find].
func (d *Directory) Nodes(ctx context.Context) ([]cdn.NodeEntry, error) {
	var err error
	if d.unread.Load() {
		err = d.refresh(ctx, "")
	} else {
		err = d.ended(ctx)
	}
	if err != nil {
		if nodes := d.set.Nodes(); len(nodes) > 0 && errors.Is(err, replica.ErrAway) {
			return nodes, nil
		}
		return nil, &cdn.Error{Op: "find nodes", Err: err}
	}
	return d.set.Nodes(), nil
}

// Watch implements [cdn.Watcher], as [replica.Set.Watch] does. It reads from Redis at
// first and after a gap. While Redis is away there is nothing to tell.
func (d *Directory) Watch(ctx context.Context, id cdn.StreamID) iter.Seq2[[]cdn.Entry, error] {
	return func(yield func([]cdn.Entry, error) bool) {
		if err := d.refresh(ctx, id); err != nil && !errors.Is(err, replica.ErrAway) {
			if ctx.Err() == nil {
				yield(nil, &cdn.Error{Op: "watch", Stream: id, Err: err})
			}
			return
		}
		d.set.Watch(ctx, id)(yield)
	}
}

// Stats returns what the directory tells of itself.
func (d *Directory) Stats() Stats {
	d.mu.Lock()
	s := d.stats
	s.Away, s.Since = d.state.away, d.state.since
	d.mu.Unlock()
	s.Entries, s.Nodes = d.set.Len()
	return s
}

// ended returns why nothing can be done any more, nil: something can.
func (d *Directory) ended(ctx context.Context) error {
	if d.ctx.Err() != nil {
		return cdn.ErrClosed
	}
	return ctx.Err()
}

// away returns why Redis is not asked, nil: it is.
func (d *Directory) away() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.state.away:
		return d.state.why
	case d.state.suspected:
		return fmt.Errorf("%w: it lets calls wait", replica.ErrAway)
	}
	return nil
}
