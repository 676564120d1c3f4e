package cdn

import (
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/deltacdn/delta/cdn/internal/fanout"
	"github.com/deltacdn/delta/internal/jitter"
	"github.com/deltacdn/delta/internal/service"
	"github.com/deltacdn/delta/internal/udp/egress"
)

// A Node is one process of a CDN: an identity, one UDP port that its
// publishers and viewers share, and the services that were built on it
// (origins, relays, edges, or a user's own). Its methods may be called
// concurrently.
type Node struct {
	// static
	config     Config
	log        *slog.Logger
	started    time.Time
	transport  *transportState
	runtime    *service.Runtime
	pool       *fanout.Pool[*egress.Batch]
	announcer  *announcer // nil without a Directory
	presence   presence
	leaving    leaving
	throughput throughput

	admissions admissions // has a lock of its own, which is taken last
	reviews    reviews
	limits     atomic.Pointer[Limits]
	totals     totals // likewise

	mu       sync.Mutex
	streams  map[*Stream]struct{}
	services []io.Closer
	closed   bool
	end      ending
}

// An ending is what Close has come to.
type ending struct {
	over chan struct{} // closed when Close has done its work
	err  error         // of that; is set before
}

// Listen opens the node's UDP port. The node must be closed.
func Listen(c Config) (*Node, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, &Error{Op: "listen", Err: err}
	}
	t, err := listen(c)
	if err != nil {
		return nil, &Error{Op: "listen", Err: err}
	}
	n := &Node{
		config: c, started: time.Now(), transport: t,
		log:     c.Logger.With("node", string(c.ID)),
		pool:    fanout.New(c.Workers, t.egress.NewBatch),
		streams: make(map[*Stream]struct{}), admissions: newAdmissions(), end: ending{over: make(chan struct{})},
	}
	n.runtime = n.newRuntime()
	n.limits.Store(&c.Limits)
	n.totals.live = make(map[*meter]struct{})
	if c.Directory != nil {
		n.announcer = newAnnouncer(c.Directory, n.log, c.Lease, func(id StreamID) func() float64 {
			return jitter.New(string(c.ID) + " " + string(id)).Float64
		})
		n.announcer.load = n.Load
	}
	return n, nil
}

// ID returns the node's identity.
func (n *Node) ID() NodeID { return n.config.ID }

// URL returns the base URL of the node's signaling, "" if it was given none.
func (n *Node) URL() string { return n.config.URL }

// Addr returns the address of the node's UDP port.
func (n *Node) Addr() net.Addr { return n.transport.port.LocalAddr() }

// TCPAddr returns the address of the node's port for clients without UDP, nil: there is
// none ([Config].TCPAddr).
func (n *Node) TCPAddr() net.Addr {
	if n.transport.tcp == nil {
		return nil
	}
	return n.transport.tcp.Addr()
}

// Logger returns the node's logger, for the services on it.
func (n *Node) Logger() *slog.Logger { return n.log }

// Emit counts e and passes it to the node's OnEvent. Services call it.
func (n *Node) Emit(e Event) {
	n.totals.note(e)
	if n.config.OnEvent != nil {
		n.config.OnEvent(e)
	}
}

// Announce puts the stream into the node's Directory and keeps it there until stop is
// called. The caller sets Publication, Epoch and Hops of e, and Path and Latency if they
// are known; the node sets the rest. The stream does not depend on the Directory. If the
// Directory knows a higher epoch of the publication, onStale is called once, by another
// goroutine. A newer announcement of the same stream replaces this one.
func (n *Node) Announce(s *Stream, e Entry, onStale func()) (stop func()) {
	if n.announcer == nil || n.config.URL == "" {
		return func() {}
	}
	e.Stream, e.Node, e.URL = s.id, n.config.ID, n.config.URL
	for _, t := range s.Tracks() {
		e.Tracks = append(e.Tracks, t.info)
	}
	return n.announcer.announce(e, onStale).stop
}

// Own has Close of the node close c first; what was owned last is closed first. A service
// calls it for itself when it is made. If the node has been closed, or is being closed, Own
// closes c at once: the caller must not hold a lock that the Close of c takes.
func (n *Node) Own(c io.Closer) {
	n.mu.Lock()
	closed := n.closed
	if !closed {
		n.services = append(n.services, c)
	}
	n.mu.Unlock()
	if closed {
		n.closeService(c)
	}
}

func (n *Node) closeService(c io.Closer) {
	if err := c.Close(); err != nil {
		n.log.Warn("closing a service", "err", err)
	}
}

// Close ends the node's services, streams and sessions now, waits for their
// goroutines, and frees the port. It is idempotent: each call returns once that is done,
// with the same error. What Close waits for must not call it: neither [Config].OnEvent, nor
// the Close of what the node owns.
func (n *Node) Close() error {
	n.mu.Lock()
	first := !n.closed
	n.closed = true
	services := n.services
	n.mu.Unlock()
	if first {
		n.end.err = n.shutDown(services)
		close(n.end.over)
	}
	<-n.end.over
	return n.end.err
}

func (n *Node) shutDown(services []io.Closer) error {
	n.presence.close()
	n.admissions.close()
	for i := len(services) - 1; i >= 0; i-- {
		n.closeService(services[i])
	}
	n.mu.Lock()
	var left []*Stream
	for s := range n.streams {
		left = append(left, s)
	}
	n.mu.Unlock()
	for _, s := range left {
		s.End(ErrClosed)
	}
	if n.announcer != nil {
		n.announcer.close()
	}
	n.pool.Close()
	return n.transport.close()
}

func (n *Node) addStream(s *Stream) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.closed:
		return &Error{Op: "open", Stream: s.id, Err: ErrClosed}
	case len(n.streams) >= n.Limits().Streams:
		return &Error{Op: "open", Stream: s.id, Err: &LimitError{"streams", n.Limits().Streams}, RetryAfter: 5 * time.Second}
	case !s.fetched && n.publishesLocked(s.id):
		return &Error{Op: "open", Stream: s.id, Err: ErrAlreadyPublishing}
	}
	n.streams[s] = struct{}{}
	return nil
}

// publishesLocked reports whether a stream of that name is published here.
func (n *Node) publishesLocked(id StreamID) bool {
	for s := range n.streams {
		if s.id == id && !s.fetched && s.Err() == nil {
			return true
		}
	}
	return false
}

func (n *Node) removeStream(s *Stream) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.streams, s)
}
