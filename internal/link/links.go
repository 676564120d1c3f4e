package link

import (
	"cmp"
	"context"
	"crypto"
	cryptorand "crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/dtls/v3/pkg/crypto/fingerprint"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/control"
	"github.com/deltacdn/delta/signal"
)

// Links are a node's links. It is a [signal.LinkHandler]. Its methods may be
// called concurrently.
type Links struct {
	// static
	node        *cdn.Node
	trust       cdn.Trust
	transport   cdn.Transport
	instance    string
	certificate tls.Certificate
	fingerprint string
	nextSSRC    atomic.Uint32
	serves      atomic.Pointer[cdn.Source]
	proofs      *proofs

	mu  sync.Mutex
	all map[*Link]struct{}
	// doubted are nodes in whose name an offer came to nothing, and until when
	// theirs are not waited for.
	doubted map[cdn.NodeID]time.Time
	closed  bool
	work    sync.WaitGroup // the links, to the last thing that they do
}

type verifier = func([]*x509.Certificate) error

// New returns the links of a node, none.
func New(node *cdn.Node) (*Links, error) {
	ls := &Links{
		node: node, trust: node.Trust(), transport: node.Transport(), instance: cryptorand.Text()[:16],
		all: make(map[*Link]struct{}), doubted: make(map[cdn.NodeID]time.Time), proofs: newProofs(),
	}
	ls.certificate, ls.fingerprint = ls.transport.Certificate, ls.transport.Fingerprint
	if own := ls.trust.Certificate; own != nil {
		cert, err := x509.ParseCertificate(own.Certificate[0])
		if err != nil {
			return nil, fmt.Errorf("%w: certificate: %w", cdn.ErrInvalid, err)
		}
		digest, err := fingerprint.Fingerprint(cert, crypto.SHA256)
		if err != nil {
			return nil, err
		}
		ls.certificate, ls.fingerprint = *own, "sha-256 "+digest
	}
	var start [4]byte
	_, _ = cryptorand.Read(start[:]) // it does not fail
	ls.nextSSRC.Store(uint32(start[0])<<24 | uint32(start[1])<<16 | uint32(start[2])<<8 | 1)
	return ls, nil
}

// Serve has the streams of source given to other nodes. Without it, nothing is.
func (ls *Links) Serve(source cdn.Source) {
	if ls.serves.Swap(&source) == nil && ls.trust.Open() {
		ls.node.Logger().Warn("no secret, pin or CA is configured: other nodes are let in from loopback addresses only")
	}
}

// Unserve takes back what Serve did, ends what is served, and waits for it.
func (ls *Links) Unserve() {
	ls.serves.Store(nil)
	ls.mu.Lock()
	var servings []*serving
	for l := range ls.all {
		l.mu.Lock()
		for _, s := range l.servings {
			servings = append(servings, s)
		}
		l.mu.Unlock()
	}
	ls.mu.Unlock()
	for _, s := range servings {
		s.end(cdn.ErrClosed)
	}
	for _, s := range servings {
		<-s.done
	}
}

func (ls *Links) source() cdn.Source {
	if p := ls.serves.Load(); p != nil {
		return *p
	}
	return nil
}

// newSSRC returns an SSRC that no other source of this node's links has.
func (ls *Links) newSSRC() uint32 {
	for {
		if n := ls.nextSSRC.Add(1); n > 2 { // those are of RTCP
			return n
		}
	}
}

func (ls *Links) hello() control.Hello {
	return control.Hello{Min: control.Version, Max: control.Version, Node: string(ls.node.ID()), Instance: ls.instance}
}

// Fetch brings a stream from the node of entry into an input of s, over the link
// with it, which is made if there is none. It returns when the stream does not
// come this way any more, and says why.
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
			err = f.wait(ctx, c.Silence)
		}
		// Of a node that has restarted the link may still seem to be there.
		stale := stood && errors.Is(l.Err(), cdn.ErrPeerLost) && (f == nil || !f.begins())
		if !stale && !errors.Is(err, errMoved) || try == maxMoves || ctx.Err() != nil {
			return err
		}
	}
}

// ErrNone says that the other side knows no links.
var ErrNone = errors.New("link: no links there")

// errMoved says that a link was not made since there is another with the same
// node.
var errMoved = fmt.Errorf("%w: there is another link with that node", cdn.ErrPeerLost)

const maxMoves = 3

// Keep sees to it that there is a link with the node of entry, until ctx ends. It
// tells when there is one (nil), and when there is none, why.
func (ls *Links) Keep(ctx context.Context, to cdn.Entry, by signal.LinkDialer, tell func(error)) {
	const first, last, foreignPause = 250 * time.Millisecond, 8 * time.Second, time.Minute
	pause := first
	for ctx.Err() == nil {
		l, err := ls.to(to, by)
		if errors.Is(err, cdn.ErrOverLimit) { // till others go
			tell(err)
			if !pauses(ctx, last) {
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
		case <-l.done:
		case <-ctx.Done():
			return
		}
		select {
		case <-l.done:
		case <-ctx.Done():
			return
		}
		switch err := l.Err(); {
		case errors.Is(err, errMoved): // there is another
		case errors.Is(err, ErrNone):
			pause = foreignPause
			tell(err)
		default:
			tell(err)
		}
		if !pauses(ctx, pause) {
			return
		}
		pause = min(2*pause, last)
	}
}

// pauses waits for half of d or more, not all at once, and reports whether to go on.
func pauses(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d - rand.N(d/2)):
		return true
	}
}

// Leads reports whether a link with the node of an entry is up.
func (ls *Links) Leads(to cdn.Entry) bool {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	return ls.findLocked(func(l *Link) bool { return l.isUp() && l.leadsTo(to) }) != nil
}

// to returns the link with the node of an entry: the one that is up, or one that
// is being made, or a new one, which [Link.start] starts.
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
	if err := ls.fullLocked(len(ls.unprovedLocked())); err != nil {
		return nil, err
	}
	l := ls.newLink(true, e.URL)
	l.dialer, l.want = by, e.Node
	ls.addLocked(l)
	return l, nil
}

// findLocked returns a link for which ok holds: one that is up, if there is one.
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

// leadsTo reports whether the link is, or will be, with the node of an entry.
func (l *Link) leadsTo(e cdn.Entry) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped || !l.dialed && l.conn == nil && !l.chosen { // the other node may go over to one of ours
		return false
	}
	if e.Node != "" {
		return e.Node == cmp.Or(l.peer.node, l.want)
	}
	return e.URL != "" && slices.Contains(l.urls, e.URL)
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
	ls.work.Wait()
	return nil
}
