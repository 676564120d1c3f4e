package natsdir

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"iter"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/replica"
)

const (
	// DefaultPrefix is what subjects begin with if [Config] does not say.
	DefaultPrefix = "delta.directory"

	probeEvery = time.Second
	patience   = 2 * time.Second        // with an engine that does not answer
	startsFor  = 300 * time.Millisecond // after the first connection: others answer meanwhile
	// inboxSize is how many messages may wait to be read: all of what a large network
	// says in some seconds.
	inboxSize = 1 << 15
	// goneFor is how long others are asked to remember a withdrawal.
	goneFor = time.Minute
	maxOwed = 1 << 14
)

// Config is what a [Directory] is made with. The zero value is good.
type Config struct {
	// Prefix is what the subjects begin with; the directories of one network have the
	// same. It consists of letters, digits, "-" and "_", with "." between. If empty,
	// [DefaultPrefix]. A user of NATS needs to be allowed to publish and to subscribe
	// to Prefix + ".>", and nothing else.
	Prefix string
	// Hold is how long announcements are kept after their leases while the engine is
	// away. If zero, an hour.
	Hold time.Duration
	// Limit is how many announcements are kept, of all nodes together. If zero, 131072.
	Limit int
	// Reaches reports whether the server that this node is connected to has a way to
	// those of other nodes. While it has none, other nodes' announcements are kept as if
	// the engine were away; this node's own go on. It must not block. If nil, it always
	// has.
	Reaches func() bool
	// Logger gets what an operator should know. If nil, nothing is logged.
	Logger *slog.Logger

	// For tests:
	now  func() time.Time // where numbers are taken from
	deaf *atomic.Bool     // what others announce does not arrive
}

func (c Config) withDefaults() (Config, error) {
	c.Prefix = cmp.Or(c.Prefix, DefaultPrefix)
	for token := range strings.SplitSeq(c.Prefix, ".") {
		if !isToken(token) {
			return c, fmt.Errorf("%w: prefix %q has other characters than letters, digits, %q and single dots", cdn.ErrInvalid, c.Prefix, "-_")
		}
	}
	if c.Hold < 0 || c.Limit < 0 {
		return c, fmt.Errorf("%w: Hold %v, Limit %d", cdn.ErrInvalid, c.Hold, c.Limit)
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c, nil
}

// isToken reports whether s is one token of a subject.
func isToken(s string) bool {
	return s != "" && len(s) <= 64 && strings.IndexFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
	}) < 0
}

// Directory is a [cdn.NodeDirectory] and a [cdn.Watcher] on NATS. Its methods may be
// called concurrently. Finding never waits for the network, but for a moment after the
// start if a stream is not known; announcing waits until the announcement has come back.
type Directory struct {
	// static
	nc     *nats.Conn
	config Config
	id     string // of this Directory, as others know it
	set    *replica.Set
	subs   []*nats.Subscription
	inbox  chan *nats.Msg
	ctx    context.Context // until Close
	cancel context.CancelFunc
	work   sync.WaitGroup // the two goroutines: keepEngine, receive

	proofs chan proof    // from keepEngine to receive
	kicked chan struct{} // holds one item if the engine is to be looked at now
	// starting ends when those who are there have had time to answer the first question.
	starting context.Context
	started  context.CancelFunc

	peers peers // owned by receive

	// mu is taken ahead of the set's. With it held messages are published, so that
	// those of one key leave in the order of their numbers.
	mu    sync.Mutex
	state state
	waits map[wait]chan struct{}        // closed when the announcement comes back
	owed  map[replica.Key]replica.Value // withdrawals that could not be sent
	stats Stats
}

// A wait is an announcement that is to come back.
type wait struct {
	key replica.Key
	seq uint64
}

// Stats is what a [Directory] tells of itself.
type Stats struct {
	// Away: the engine does not answer. Since is when that, or its opposite, began.
	Away  bool
	Since time.Time
	// Entries and Nodes are how many announcements are known.
	Entries, Nodes int
	// Sent and Received count messages. Refused counts lines in those received that
	// could not be read, or for which there was no room.
	Sent, Received, Refused uint64
}

var (
	_ cdn.NodeDirectory = (*Directory)(nil)
	_ cdn.Watcher       = (*Directory)(nil)
)

// New returns the directory of a node that is connected to NATS by nc, which remains
// the caller's: it is to be closed after the Directory. [Options] are good for it. It
// need not be connected yet ([nats.RetryOnFailedConnect]).
//
// New fails with an error wrapping [cdn.ErrInvalid] for a Config that makes no sense,
// for a connection that is closed or was made with [nats.NoEcho], and with
// [cdn.ErrUnsupported] for a server that takes no messages of the size needed.
func New(nc *nats.Conn, c Config) (*Directory, error) {
	d, err := newDirectory(nc, c)
	if err != nil {
		return nil, &cdn.Error{Op: "new NATS directory", Err: err}
	}
	return d, nil
}

func newDirectory(nc *nats.Conn, c Config) (*Directory, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	switch {
	case nc == nil || nc.IsClosed():
		return nil, fmt.Errorf("%w: no connection, or one that is closed", cdn.ErrInvalid)
	case nc.Opts.NoEcho:
		return nil, fmt.Errorf("%w: a connection without echo: announcements must come back", cdn.ErrInvalid)
	case nc.IsConnected() && nc.MaxPayload() < replica.MaxValue+1024:
		return nil, fmt.Errorf("%w: the server takes messages of %d bytes, %d are needed", cdn.ErrUnsupported, nc.MaxPayload(), replica.MaxValue+1024)
	}
	d := &Directory{
		nc: nc, config: c, id: rand.Text(),
		set:    replica.NewSet(replica.Config{Limit: c.Limit, Hold: c.Hold, Now: c.now}),
		inbox:  make(chan *nats.Msg, inboxSize),
		proofs: make(chan proof),
		kicked: make(chan struct{}, 1),
		waits:  make(map[wait]chan struct{}),
		owed:   make(map[replica.Key]replica.Value),
		peers:  newPeers(),
	}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	d.starting, d.started = context.WithCancel(d.ctx)
	d.state = state{away: !nc.IsConnected(), since: time.Now(), reconnects: nc.Stats().Reconnects}
	for _, subject := range []string{d.subject(announceSubject), d.subject(askSubject), d.inboxOf(d.id)} {
		sub, err := nc.ChanSubscribe(subject, d.inbox)
		if err != nil {
			d.unsubscribe()
			return nil, fmt.Errorf("subscribe to %s: %w", subject, err)
		}
		d.subs = append(d.subs, sub)
	}
	d.work.Go(d.receive)
	d.work.Go(d.keepEngine)
	return d, nil
}

// Close ends the directory and waits for its goroutines. What the node announced stays
// with the others until it is removed, or its lease ends. Close is idempotent; all other
// methods fail from now on with an error wrapping [cdn.ErrClosed].
func (d *Directory) Close() error {
	d.cancel()
	d.work.Wait()
	d.unsubscribe()
	d.set.Close()
	return nil
}

func (d *Directory) unsubscribe() {
	for _, sub := range d.subs {
		_ = sub.Unsubscribe() // the connection may be closed, and with it all that it has
	}
}

// Put implements [cdn.Directory]. It returns when the announcement has come back from
// the engine. It fails with an error wrapping [replica.ErrAway] if the engine is away,
// and [cdn.ErrInvalid] for an entry that cannot be announced.
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

// Remove implements [cdn.Directory]. If the engine is away it fails with an error
// wrapping [replica.ErrAway], and the withdrawal is sent when the engine is back, unless
// the directory is closed by then.
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

// Find implements [cdn.Directory]. It answers from the replica, also while the engine
// is away; it fails with an error wrapping [replica.ErrAway] only if the engine is away
// and nothing is known of the stream. Just after the start it waits up to 300 ms for a
// stream that is not known.
func (d *Directory) Find(ctx context.Context, id cdn.StreamID) ([]cdn.Entry, error) {
	entries, err := d.find(ctx, id)
	if err != nil {
		return nil, &cdn.Error{Op: "find", Stream: id, Err: err}
	}
	return entries, nil
}

func (d *Directory) find(ctx context.Context, id cdn.StreamID) ([]cdn.Entry, error) {
	if err := d.ended(ctx); err != nil {
		return nil, err
	}
	entries := d.set.Find(id)
	if len(entries) > 0 {
		return entries, nil
	}
	if away := d.away(); away != nil {
		return nil, away
	}
	starting, stop := context.WithCancel(ctx)
	defer stop()
	defer context.AfterFunc(d.starting, stop)()
	for entries, err := range d.set.Watch(starting, id) {
		if len(entries) > 0 || err != nil {
			return entries, err
		}
	}
	if err := d.ended(ctx); err != nil {
		return nil, err
	}
	return d.set.Find(id), nil
}

// Nodes implements [cdn.NodeDirectory], as [Directory.Find] does, but for the waiting.
func (d *Directory) Nodes(ctx context.Context) ([]cdn.NodeEntry, error) {
	err := d.ended(ctx)
	nodes := d.set.Nodes()
	if err == nil && len(nodes) == 0 {
		err = d.away()
	}
	if err != nil {
		return nil, &cdn.Error{Op: "find nodes", Err: err}
	}
	return nodes, nil
}

// Watch implements [cdn.Watcher], as [replica.Set.Watch] does. While the engine is away
// there is nothing to tell.
func (d *Directory) Watch(ctx context.Context, id cdn.StreamID) iter.Seq2[[]cdn.Entry, error] {
	return d.set.Watch(ctx, id)
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
