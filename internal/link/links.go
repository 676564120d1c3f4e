package link

import (
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

	mu     sync.Mutex
	all    map[*Link]struct{}
	closed bool
	work   sync.WaitGroup // the links
}

type verifier = func([]*x509.Certificate) error

// maxUnproved bounds the links that other nodes have asked for and not made.
const maxUnproved = 64

// New returns the links of a node, none.
func New(node *cdn.Node) (*Links, error) {
	ls := &Links{
		node: node, trust: node.Trust(), transport: node.Transport(), instance: cryptorand.Text()[:16],
		all: make(map[*Link]struct{}),
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
		f, err := l.subscribe(c, s)
		l.start()
		if err == nil {
			err = f.wait(ctx, c.Silence)
		}
		if !errors.Is(err, errMoved) || try == maxMoves {
			return err
		}
	}
}

// ErrNone says that the other side knows no links.
var ErrNone = errors.New("link: no links there")

// errMoved says that a link was not made since there is another with the same
// node.
var errMoved = errors.New("link: there is another one with that node")

const maxMoves = 3

// Keep sees to it that there is a link with the node of entry, until ctx ends.
func (ls *Links) Keep(ctx context.Context, to cdn.Entry, by signal.LinkDialer) {
	const first, last, foreignPause = 250 * time.Millisecond, 8 * time.Second, time.Minute
	pause := first
	for ctx.Err() == nil {
		l, err := ls.to(to, by)
		if err != nil {
			return // closed
		}
		l.start()
		select {
		case <-l.up:
			pause = first
		case <-l.done:
		case <-ctx.Done():
			return
		}
		select {
		case <-l.done:
		case <-ctx.Done():
			return
		}
		if errors.Is(l.Err(), ErrNone) {
			pause = foreignPause
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause - rand.N(pause/2)):
		}
		pause = min(2*pause, last)
	}
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
	l := ls.newLink(true, e.URL)
	l.dialer = by
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

// over is called when a link has ended.
func (ls *Links) over(l *Link) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	delete(ls.all, l)
	ls.work.Done()
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
	if e.Node != "" && l.peer.node != "" {
		return e.Node == l.peer.node
	}
	return e.URL != "" && slices.Contains(l.urls, e.URL)
}

// choose has a link count that the other node makes, though it is not up yet, for
// those who want the node at url.
func (l *Link) choose(url string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.chosen = true
	l.urls = append(l.urls, url)
}

// start dials, once.
func (l *Link) start() {
	if l.dialed {
		l.starter.Do(func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			if !l.stopped {
				l.work.Go(l.run)
				l.work.Go(l.dial)
			}
		})
	}
}

// dial makes the connection: an offer and its answer, then checks, and the
// ClientHello beside them.
func (l *Link) dial() {
	if err := l.signal(); err != nil {
		l.end(err)
		return
	}
	if !l.links.goes(l) {
		l.end(errMoved)
		return
	}
	l.mu.Lock()
	l.shakeLocked()
	l.mu.Unlock()
	l.path.probe()
}

// signal brings the other node's answer.
func (l *Link) signal() error {
	ls := l.links
	ctx, cancel := context.WithTimeout(l.ctx, connectTimeout)
	defer cancel()
	if err := ls.transport.Port.Name(l.ours.Ufrag, l); err != nil {
		return err
	}
	d := l.description()
	l.mu.Lock()
	for len(d.Control) < maxControl {
		datagram := l.control.Datagram()
		if datagram == nil {
			break
		}
		d.Control = append(d.Control, append([]byte(nil), datagram...))
	}
	l.control.Untimed()
	l.mu.Unlock()
	offer, err := seal(d, ls.trust, nil)
	if err != nil {
		return err
	}
	answer, err := l.dialer.DialLink(ctx, l.url, offer)
	if err != nil {
		if errors.Is(err, cdn.ErrUnsupported) {
			err = fmt.Errorf("%w: %w", ErrNone, err)
		}
		if ctx.Err() != nil && l.ctx.Err() == nil {
			err = fmt.Errorf("%w: %w", cdn.ErrTimeout, err)
		}
		return err
	}
	r, proved, err := open(answer, ls.trust, offer)
	if err != nil {
		return err
	}
	if r.node == ls.node.ID() {
		return fmt.Errorf("%w: that is this node", cdn.ErrLoop)
	}
	// It was this node that chose whom to ask, so the answer counts as local where
	// nothing is configured.
	verify, err := admit(ls.trust, r, proved, true)
	if err != nil {
		return err
	}
	l.meet(r, verify)
	return nil
}

// Link answers another node's offer.
func (ls *Links) Link(_ context.Context, o signal.LinkOffer) ([]byte, error) {
	answer, err := ls.answer(o)
	if err != nil {
		return nil, &cdn.Error{Op: "link", Err: err}
	}
	return answer, nil
}

func (ls *Links) answer(o signal.LinkOffer) ([]byte, error) {
	r, proved, err := open(o.Body, ls.trust, nil)
	if err != nil {
		return nil, err
	}
	if r.node == ls.node.ID() {
		return nil, fmt.Errorf("%w: node %s is this one", cdn.ErrLoop, r.node)
	}
	verify, err := admit(ls.trust, r, proved, IsLoopback(o.RemoteAddr))
	if err != nil {
		return nil, err
	}
	l := ls.newLink(false, "")
	if err := ls.add(l); err != nil {
		return nil, err
	}
	l.meet(r, verify)
	if err := ls.transport.Port.Name(l.ours.Ufrag, l); err != nil {
		l.end(err)
		return nil, err
	}
	l.mu.Lock()
	if !l.stopped {
		l.work.Go(l.run)
		l.work.Go(l.expire)
	}
	l.mu.Unlock()
	answer, err := seal(l.description(), ls.trust, o.Body)
	if err != nil {
		l.end(err)
	}
	return answer, err
}

// add takes a link in that another node asks for.
func (ls *Links) add(l *Link) error {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	unproved := 0
	for other := range ls.all {
		if !other.dialed && !other.isUp() {
			unproved++
		}
	}
	switch {
	case ls.closed:
		l.cancel()
		return cdn.ErrClosed
	case unproved >= maxUnproved:
		l.cancel()
		return &cdn.Error{Op: "link", Err: fmt.Errorf("%w: %d links are being made", cdn.ErrOverLimit, unproved), RetryAfter: time.Second}
	}
	ls.addLocked(l)
	return nil
}

// expire ends a link that the other node has asked for and does not make.
func (l *Link) expire() {
	t := time.NewTimer(connectTimeout)
	defer t.Stop()
	select {
	case <-l.up:
	case <-l.ctx.Done():
	case <-t.C:
		l.end(fmt.Errorf("%w: no connection within %v", cdn.ErrTimeout, connectTimeout))
	}
}

// goes reports whether a link that this node has dialled, and whose answer has
// come, is to be made. Two nodes may dial each other at one moment: of the two
// links, that of the node with the lesser identity counts, unless the other is
// up. Both nodes see it so, and the fetches of the one that is dropped go over to
// the other.
func (ls *Links) goes(l *Link) bool {
	r := l.remote()
	ls.mu.Lock()
	defer ls.mu.Unlock()
	other := ls.findLocked(func(o *Link) bool { return o != l && o.with(r) })
	switch {
	case other == nil:
		return true
	case other.isUp(), !other.dialed && r.node < ls.node.ID():
		other.choose(l.url)
		return false
	case !other.dialed:
		other.end(cdn.ErrSuperseded)
	}
	return true
}

// yields reports whether a link that the other node has dialled, and checks, may
// go on, by the same rule: one that this node is dialling may come first.
func (ls *Links) yields(l *Link) bool {
	r := l.remote()
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ours := ls.findLocked(func(o *Link) bool { return o != l && o.dialed && !o.isUp() && o.with(r) })
	if ours == nil {
		return true
	}
	if ls.node.ID() < r.node {
		return false
	}
	l.choose(ours.url)
	ours.end(errMoved)
	return true
}

func (l *Link) remote() remote {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.peer
}

// with reports whether the link is with this process of a node.
func (l *Link) with(r remote) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.stopped && l.peer.node == r.node && l.peer.instance == r.instance
}

// established is called when a link's handshake is over. It reports whether the
// link may go on, and ends those that it takes the place of: what the node had
// with this one before it was started anew, or before it lost the link.
func (ls *Links) established(l *Link) bool {
	r := l.remote()
	ls.mu.Lock()
	var old []*Link
	for o := range ls.all {
		if o != l && o.Peer() == r.node {
			old = append(old, o)
		}
	}
	closed := ls.closed
	ls.mu.Unlock()
	for _, o := range old {
		o.end(cdn.ErrSuperseded)
	}
	return !closed
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

// Stats is a snapshot of a link.
type Stats struct {
	Node     cdn.NodeID
	URL      string // that was dialled, "" where the other node dialled
	Up       time.Time
	RTT      time.Duration
	Loss     float64 // share of probes
	Received uint64  // bytes of media
	Sent     uint64
	Fetched  []cdn.StreamID // that come by it
	Served   []cdn.StreamID // that go out by it
}

// Stats returns a snapshot of the links that are up.
func (ls *Links) Stats() (all []Stats) {
	ls.mu.Lock()
	links := make([]*Link, 0, len(ls.all))
	for l := range ls.all {
		if l.isUp() {
			links = append(links, l)
		}
	}
	ls.mu.Unlock()
	for _, l := range links {
		all = append(all, l.stats())
	}
	slices.SortFunc(all, func(a, b Stats) int { return a.Up.Compare(b.Up) })
	return all
}

func (l *Link) stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.control.Stats()
	st := Stats{
		Node: l.peer.node, URL: l.url, Up: l.upSince, RTT: c.RTT, Loss: c.Loss,
		Received: l.media.received.Load(), Sent: l.media.sent.Load(),
	}
	for _, f := range l.fetches {
		st.Fetched = append(st.Fetched, f.stream.ID())
	}
	for _, s := range l.servings {
		st.Served = append(st.Served, s.wish)
	}
	slices.Sort(st.Fetched)
	slices.Sort(st.Served)
	return st
}
