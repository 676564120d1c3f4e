package link

import (
	"cmp"
	"context"
	cryptorand "crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/endpoint"
	"github.com/deltacdn/delta/internal/jitter"
	"github.com/deltacdn/delta/internal/link/control"
	"github.com/deltacdn/delta/internal/service"
	"github.com/deltacdn/delta/internal/trouble"
	"github.com/deltacdn/delta/signal"
)

// Links are a node's links. It is a [signal.LinkHandler]. Its methods may be
// called concurrently.
type Links struct {
	// static
	node      *cdn.Node
	trust     cdn.Trust
	transport *service.Runtime
	identity  service.Identity
	instance  string
	nextSSRC  atomic.Uint32
	serves    atomic.Pointer[cdn.Source]
	suggest   atomic.Pointer[func(cdn.StreamID, cdn.NodeID) []cdn.Entry] // nil: nobody suggests
	answers   atomic.Pointer[CallHandler]                                // nil: nobody answers
	proofs    *proofs
	troubles  *trouble.Reporter

	mu  sync.Mutex
	all map[*Link]struct{}
	// distrusted are the nodes in whose name an offer came to nothing, and until when
	// this node does not wait for their offers.
	distrusted map[cdn.NodeID]time.Time
	left       chan struct{} // closed when a node says that it is leaving, or is not any more
	closed     bool
	work       sync.WaitGroup // the links, until the last has ended
}

// New returns the links of a node. There is none at first.
func New(node *cdn.Node) (*Links, error) {
	ls := &Links{
		node: node, trust: node.Trust(), transport: node.Internal(), instance: cryptorand.Text()[:16],
		all: make(map[*Link]struct{}), distrusted: make(map[cdn.NodeID]time.Time), left: make(chan struct{}), proofs: newProofs(),
		troubles: trouble.NewReporter(node.Logger()),
	}
	ls.identity = ls.transport.Identity
	if own := ls.trust.Certificate; own != nil {
		cert, err := x509.ParseCertificate(own.Certificate[0])
		if err != nil {
			return nil, fmt.Errorf("%w: certificate: %w", cdn.ErrInvalid, err)
		}
		if ls.identity.Fingerprint, err = endpoint.Fingerprint(cert); err != nil {
			return nil, err
		}
		ls.identity.Certificate = *own
	}
	var start [4]byte
	_, _ = cryptorand.Read(start[:]) // it does not fail
	ls.nextSSRC.Store(uint32(start[0])<<24 | uint32(start[1])<<16 | uint32(start[2])<<8 | 1)
	return ls, nil
}

// Troubles returns the reporter of misconfigurations between this node and others.
func (ls *Links) Troubles() *trouble.Reporter { return ls.troubles }

// Serve has the streams of source served to other nodes. Without it, none are.
func (ls *Links) Serve(source cdn.Source) {
	if ls.serves.Swap(&source) == nil && ls.trust.Open() {
		ls.node.Logger().Warn("no secret, pin or CA is configured: other nodes are let in from loopback addresses only")
	}
}

// Unserve reverses Serve. It ends the outbound subscriptions and waits for them.
func (ls *Links) Unserve() {
	ls.serves.Store(nil)
	ls.mu.Lock()
	var all []*outbound
	for l := range ls.all {
		l.mu.Lock()
		all = slices.AppendSeq(all, maps.Values(l.subs.out))
		l.mu.Unlock()
	}
	ls.mu.Unlock()
	for _, s := range all {
		s.end(cdn.ErrClosed)
	}
	for _, s := range all {
		<-s.done
	}
}

func (ls *Links) source() cdn.Source {
	if p := ls.serves.Load(); p != nil {
		return *p
	}
	return nil
}

// newSSRC returns an SSRC that no other source of this node's links uses.
func (ls *Links) newSSRC() uint32 {
	for {
		if n := ls.nextSSRC.Add(1); n > 2 { // those are of RTCP
			return n
		}
	}
}

func (ls *Links) hello() control.Hello {
	return control.Hello{
		Min: control.Version, Max: control.Version, Node: string(ls.node.ID()), Instance: ls.instance,
		Features: []string{control.FeatureCalls},
	}
}

// Fetch fetches a stream from a node into an input of s, over the link with that node.
// It makes the link if there is none. It returns when the subscription is over, and why.
func (ls *Links) Fetch(ctx context.Context, from cdn.Entry, c FetchConfig, s *cdn.Stream) error {
	for try := 1; ; try++ {
		l, err := ls.to(from, c.Dialer)
		if err != nil {
			return err
		}
		stood := l.isUp()
		f, err := l.subscribe(c, s)
		l.start()
		if err == nil {
			err = f.wait(ctx)
		}
		// The link with a node that has restarted may still seem to be up.
		stale := stood && errors.Is(l.Err(), cdn.ErrPeerLost) && (f == nil || !f.isKnown())
		if !stale && !errors.Is(err, ErrMoved) || try == maxMoves || ctx.Err() != nil {
			return err
		}
	}
}

// ErrNone says that the other node does not know links.
var ErrNone = errors.New("link: no links there")

// ErrMoved says that a link was not made because there is another with the same node.
var ErrMoved = fmt.Errorf("%w: there is another link with that node", cdn.ErrPeerLost)

const maxMoves = 3

// Keep makes a link with a node whenever there is none, until ctx ends. It calls tell
// with nil when the link is up, and with the reason when it is not.
func (ls *Links) Keep(ctx context.Context, to cdn.Entry, by signal.LinkDialer, tell func(error)) {
	const first, last, foreignPause = 250 * time.Millisecond, 8 * time.Second, time.Minute
	pause, chance := first, jitter.New("link "+string(ls.node.ID())+" "+to.Place())
	for ctx.Err() == nil {
		l, err := ls.to(to, by)
		if errors.Is(err, cdn.ErrOverLimit) { // until others end
			tell(err)
			if !pauses(ctx, last, chance) {
				return
			}
			continue
		}
		if err != nil {
			return // closed
		}
		l.start()
		select {
		case <-l.up:
			pause = first
			tell(nil)
		case <-l.Done():
		case <-ctx.Done():
			return
		}
		select {
		case <-l.Done():
		case <-ctx.Done():
			return
		}
		switch err := l.Err(); {
		case errors.Is(err, trouble.ErrNamesake):
			tell(err)
		case errors.Is(err, ErrMoved), errors.Is(err, cdn.ErrSuperseded): // there is another
		case errors.Is(err, ErrNone):
			pause = foreignPause
			tell(err)
		default:
			tell(err)
		}
		if !pauses(ctx, pause, chance) {
			return
		}
		pause = min(2*pause, last)
	}
}

// pauses waits for half of d or more, by chance, and reports whether to go on.
func pauses(ctx context.Context, d time.Duration, chance *jitter.Source) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d - chance.Below(d/2)):
		return true
	}
}

// Leads reports whether a link with a node is up.
func (ls *Links) Leads(to cdn.Entry) bool {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	return ls.findLocked(func(l *Link) bool { return l.isUp() && l.leadsTo(to) }) != nil
}

// to returns the link with a node: the one that is up, else one that is being made,
// else a new one, which [Link.start] starts.
func (ls *Links) to(e cdn.Entry, by signal.LinkDialer) (*Link, error) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if ls.closed {
		return nil, &cdn.Error{Op: "link", Node: e.Node, Err: cdn.ErrClosed}
	}
	if l := ls.findLocked(func(l *Link) bool { return l.leadsTo(e) }); l != nil {
		return l, nil
	}
	if e.URL == "" {
		return nil, &cdn.Error{Op: "link", Node: e.Node, Err: fmt.Errorf("%w: no URL", cdn.ErrInvalid)}
	}
	if err := ls.fullLocked(len(ls.halfOpenLocked())); err != nil {
		return nil, err
	}
	l := ls.newLink(e, remote{})
	l.dialer = by
	ls.addLocked(l)
	return l, nil
}

// findLocked returns a link for which ok holds, preferably one that is up.
func (ls *Links) findLocked(ok func(*Link) bool) (found *Link) {
	for l := range ls.all {
		if ok(l) && (found == nil || l.isUp()) {
			found = l
		}
	}
	return found
}

func (ls *Links) addLocked(l *Link) {
	ls.all[l] = struct{}{}
	l.uncount = ls.node.Measure(l.measure)
	ls.work.Add(1)
}

func (ls *Links) remove(l *Link) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	delete(ls.all, l)
}

func (l *Link) isUp() bool {
	select {
	case <-l.up:
		return true
	default:
		return false
	}
}

// leadsTo reports whether the link is, or will be, with a node.
func (l *Link) leadsTo(e cdn.Entry) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn.Err() != nil || !l.dialed && !l.isUp() && !l.peer.preferred { // the other node may go over to one of ours
		return false
	}
	if e.Node != "" {
		return e.Node == cmp.Or(l.peer.node, l.to.Node)
	}
	return e.URL != "" && slices.Contains(l.peer.places, e.Place())
}

// Close ends all links and waits for them.
func (ls *Links) Close() error {
	ls.mu.Lock()
	ls.closed = true
	all := make([]*Link, 0, len(ls.all))
	for l := range ls.all {
		all = append(all, l)
	}
	ls.mu.Unlock()
	for _, l := range all {
		l.end(cdn.ErrClosed)
	}
	for _, l := range all {
		<-l.Done()
	}
	ls.work.Wait()
	return nil
}
