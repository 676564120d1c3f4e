// Package link is the standing connection between two nodes, which all streams
// between them share, in both directions: ICE checks, a DTLS association with
// both certificates looked at, over which the control protocol runs (package
// control), and SRTP for media. It is on the node's port, and made by one
// exchange of signaling.
package link

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/dtls/v3"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/control"
	"github.com/deltacdn/delta/internal/dtlssrtp"
	"github.com/deltacdn/delta/internal/halfopen"
	"github.com/deltacdn/delta/internal/icecheck"
	"github.com/deltacdn/delta/internal/reason"
	"github.com/deltacdn/delta/signal"
)

// stalled is how late this node may be before silence tells nothing of others.
const stalled = 150 * time.Millisecond

// connectTimeout bounds the time until a link is up.
const connectTimeout = 5 * time.Second

// A Link is the connection with one other node. It is made by [Links], and ends
// by itself when the other node is lost. Its methods may be called concurrently.
type Link struct {
	// static
	links   *Links
	dialed  bool       // by this node
	url     string     // that was dialled
	want    cdn.NodeID // that is to be there; "": any
	dialer  signal.LinkDialer
	log     *slog.Logger
	ours    icecheck.Credentials
	begun   time.Time
	pipe    *dtlssrtp.Pipe
	ctx     context.Context
	cancel  context.CancelFunc
	up      chan struct{} // closed when the link is up
	done    chan struct{} // closed when it is over, and everything is given back
	kick    chan struct{} // for run; room for one
	work    sync.WaitGroup
	media   media
	path    path
	starter sync.Once
	asker   halfopen.Asker // of a link that was not dialled

	mu        sync.Mutex
	urls      []string // of the other node's signaling, as far as they are known, the newest last
	peer      remote   // of no node before the answer
	verify    verifier
	control   *control.Conn
	conn      *dtls.Conn      // nil before the handshake
	events    []control.Event // for run
	goodbye   *control.Closed // that is among them, or was; nil: none has come
	fetches   map[uint64]*fetching
	servings  map[uint64]*serving
	upSince   time.Time
	rates     rates
	announced bool           // that it is up
	shaking   bool           // the handshake has begun
	hello     dtlssrtp.Hello // came ahead of an address to answer to
	chosen    bool           // before another one with the same node, which was not made
	stopped   bool
	err       error
	heard     atomic.Int64 // when media last came, since begun
	idle      atomic.Bool  // it carries nothing
}

func (ls *Links) newLink(dialed bool, url string) *Link {
	now := time.Now()
	l := &Link{
		links: ls, dialed: dialed, url: url, log: ls.node.Logger(), ours: icecheck.NewCredentials(), begun: now,
		up: make(chan struct{}), done: make(chan struct{}), kick: make(chan struct{}, 1),
		fetches: make(map[uint64]*fetching), servings: make(map[uint64]*serving),
		control: control.New(now, control.Config{Hello: ls.hello()}),
	}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.learnLocked(url)
	l.pipe = dtlssrtp.NewPipe(l.sendRecord)
	l.media.init(l)
	l.path.init(l)
	return l
}

// Peer returns the node at the other end, "" before it has said who it is.
func (l *Link) Peer() cdn.NodeID {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.peer.node
}

// Err returns why the link ends or ended, nil while it lives.
func (l *Link) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// description is what the other node is told of this one.
func (l *Link) description() description {
	t := l.links.transport
	d := description{
		Node: l.links.node.ID(), URL: l.links.node.URL(), Instance: l.links.instance,
		Ufrag: l.ours.Ufrag, Pwd: l.ours.Pwd, Fingerprint: l.links.fingerprint,
		Made: time.Now().Unix(),
	}
	for _, c := range t.Candidates {
		d.Candidates = append(d.Candidates, c.String())
	}
	return d
}

// meet notes who the other node is. The URL that it gives itself is not learned: it
// may be another's, whose streams would then be asked of this one.
func (l *Link) meet(r remote, v verifier) {
	l.mu.Lock()
	l.peer, l.verify = r, v
	l.log = l.links.node.Logger().With("peer", string(r.node))
	l.mu.Unlock()
	l.path.meet(r)
}

// maxURLs bounds the URLs of one node: with another one more it is dialled again,
// at worst, to find that there is a link with it.
const maxURLs = 8

// learnLocked notes a URL of the other node's signaling, at which it has answered.
func (l *Link) learnLocked(url string) {
	if url == "" || slices.Contains(l.urls, url) {
		return
	}
	if len(l.urls) >= maxURLs {
		l.urls = slices.Delete(l.urls, 0, 1)
	}
	l.urls = append(l.urls, url)
}

// shake is the goroutine of the handshake, and then of what comes by DTLS.
func (l *Link) shake() {
	ctx, cancel := context.WithTimeout(l.ctx, connectTimeout)
	defer cancel()
	l.mu.Lock()
	r, verify := l.peer, l.verify
	l.mu.Unlock()
	conn, err := dtlssrtp.Handshake(ctx, l.pipe, dtlssrtp.Config{
		Client: l.dialed, Certificate: l.links.certificate, Peer: []dtlssrtp.Hash{r.hash}, Verify: verify,
		Log: l.links.node.PionLogger(),
	})
	if err == nil {
		err = l.connected(conn)
	}
	if err != nil {
		l.end(l.failed(ctx, err))
		return
	}
	l.read(conn)
}

func (l *Link) failed(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, cdn.ErrUnauthorized):
		return err
	case errors.Is(err, dtlssrtp.ErrFingerprint):
		return fmt.Errorf("%w: %w", cdn.ErrUnauthorized, err)
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("%w: no connection within %v", cdn.ErrTimeout, connectTimeout)
	}
	return fmt.Errorf("%w: DTLS: %w", cdn.ErrPeerLost, err)
}

// connected is called when both certificates have been found good.
func (l *Link) connected(conn *dtls.Conn) error {
	keys, err := dtlssrtp.Export(conn, l.dialed)
	if err != nil {
		_ = conn.Close()
		return err
	}
	if err := l.media.start(keys); err != nil {
		_ = conn.Close()
		return err
	}
	if !l.links.established(l) { // another one is, and is better
		_ = conn.Close()
		return cdn.ErrSuperseded
	}
	l.path.prove()
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped {
		_ = conn.Close()
		return l.err
	}
	l.conn, l.upSince, l.rates.since = conn, now, now
	l.pipe.Settle()
	l.control.Heard(now)
	for _, d := range l.peer.control {
		_ = l.control.Receive(now, d) // what cannot be read was not by a node of ours
	}
	l.peer.control = nil
	l.pumpLocked()
	l.countLocked()
	close(l.up)
	return nil
}

// read takes what the other node says, until the connection ends.
func (l *Link) read(conn *dtls.Conn) {
	buf := make([]byte, 2048)
	for {
		n, err := conn.Read(buf)
		switch {
		case err == nil:
		case errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed), errors.Is(err, dtls.ErrConnClosed):
			l.hungUp()
			return
		default:
			if l.ctx.Err() != nil {
				return
			}
			continue // what is wrong with a record is no reason to end
		}
		now := time.Now()
		l.mu.Lock()
		if err := l.control.Receive(now, buf[:n]); err != nil {
			l.log.Debug("a control datagram cannot be read", "err", err)
		}
		l.pumpLocked()
		l.mu.Unlock()
	}
}

// hungUp ends the link when the other node has closed the connection: for the reason
// that it has given just ahead of that, which run may not have come to yet.
func (l *Link) hungUp() {
	l.mu.Lock()
	goodbye := l.goodbye
	l.mu.Unlock()
	if goodbye != nil {
		l.handle(*goodbye)
	}
	l.end(cdn.ErrPeerLost) // if it has given none
}

// pumpLocked sends what the protocol has to say, and has run act on its events
// and mind its deadlines.
func (l *Link) pumpLocked() {
	l.flushLocked()
	l.wake()
}

func (l *Link) flushLocked() {
	if l.conn == nil {
		return // it says it when the link is up
	}
	for d := l.control.Datagram(); d != nil; d = l.control.Datagram() {
		_, _ = l.conn.Write(d) // lost, it is said again
	}
	for e, ok := l.control.Event(); ok; e, ok = l.control.Event() {
		if c, ok := e.(control.Closed); ok {
			l.goodbye = &c
		}
		l.events = append(l.events, e)
	}
}

func (l *Link) wake() {
	select {
	case l.kick <- struct{}{}:
	default:
	}
}

// do has f give the protocol something to do.
func (l *Link) do(f func(now time.Time, c *control.Conn)) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped {
		return
	}
	f(now, l.control)
	l.pumpLocked()
}

// run tends the protocol's deadlines and acts on its events.
func (l *Link) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	due := time.Now()
	for {
		now := time.Now()
		if now.Sub(due) > stalled { // it is this node that was not there
			l.mu.Lock()
			l.control.HeldUp(now)
			l.mu.Unlock()
		}
		events, wait := l.tend(now)
		due = now.Add(wait)
		for _, e := range events {
			l.handle(e)
		}
		timer.Reset(wait)
		select {
		case <-l.ctx.Done():
			return
		case <-l.kick:
		case <-timer.C:
		}
	}
}

func (l *Link) tend(now time.Time) ([]control.Event, time.Duration) {
	reports := l.media.tend(now)
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.control
	c.Heard(l.begun.Add(time.Duration(l.heard.Load())))
	if l.conn == nil { // connecting has a deadline of its own
		c.Heard(now)
		return nil, connectTimeout
	}
	c.Carrying(now, len(l.fetches) > 0 || len(l.servings) > 0)
	c.SetLoad(l.links.node.Load())
	l.rates.count(now, l.media.received.Load(), l.media.sent.Load())
	if next := c.Next(); !next.IsZero() && !next.After(now) {
		c.Advance(now)
	}
	l.flushLocked()
	events := l.events
	l.events = nil
	next := c.Next()
	if next.IsZero() || reports.Before(next) {
		next = reports
	}
	return events, max(next.Sub(now), 0)
}

func (l *Link) handle(e control.Event) {
	switch e := e.(type) {
	case control.Opened:
		if err := l.remote().is(e.Hello); err != nil {
			l.end(err)
			return
		}
		l.opened(e)
	case control.Asked:
		l.serve(e)
	case control.Wanted:
		if s := l.serving(e.ID); s != nil {
			s.want(e.Layers)
		}
	case control.Left:
		if s := l.serving(e.ID); s != nil {
			s.end(cdn.ErrClosed)
		}
	case control.Accepted:
		if f := l.fetch(e.ID); f != nil {
			f.accepted(e.Subscribed)
		}
	case control.Ended:
		if f := l.fetch(e.ID); f != nil {
			f.end(l.told(reason.Error(e.Reason.Code), e.Reason.Text))
		}
	case control.Closed:
		err := e.Err
		switch {
		case errors.Is(err, control.ErrPeerSilent):
			err = fmt.Errorf("%w: %w", cdn.ErrPeerLost, err)
		case errors.Is(err, control.ErrVersion):
			err = fmt.Errorf("%w: %w", cdn.ErrUnsupported, err)
		case err == nil:
			err = l.told(reason.Error(e.Reason.Code), e.Reason.Text)
		}
		l.end(err)
	}
}

// opened tells that the other node is who it should be.
func (l *Link) opened(e control.Opened) {
	l.log.Info("a link is up", "dialed", l.dialed, "version", e.Version)
	l.mu.Lock()
	l.announced = true
	l.mu.Unlock()
	l.links.node.Emit(cdn.LinkUp{Node: l.Peer(), URL: l.url})
}

// told is an error that the other node has told of.
func (l *Link) told(err error, text string) error {
	if text != "" {
		err = fmt.Errorf("%w: %s", err, text)
	}
	return &cdn.Error{Op: "link", Node: l.Peer(), Err: err}
}

func (l *Link) serving(id uint64) *serving {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.servings[id]
}

func (l *Link) fetch(id uint64) *fetching {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fetches[id]
}

// end begins the link's end and does not wait. The first reason stays.
func (l *Link) end(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped {
		return
	}
	l.stopped, l.err = true, err
	go l.finish()
}

// Close ends the link and waits for it.
func (l *Link) Close() error {
	l.end(cdn.ErrClosed)
	<-l.done
	return nil
}

// finish says goodbye and gives back what the link has.
func (l *Link) finish() {
	defer l.links.work.Done()
	now := time.Now()
	l.mu.Lock()
	err, conn := l.err, l.conn
	if conn != nil {
		l.control.Close(now, control.Reason{Code: reason.Word(err)})
		l.pumpLocked()
	}
	fetches, servings := l.fetches, l.servings
	l.fetches, l.servings = nil, nil
	l.countLocked()
	l.mu.Unlock()
	for _, f := range fetches {
		f.end(&cdn.Error{Op: "fetch", Stream: f.stream.ID(), Node: l.Peer(), Err: err})
	}
	for _, s := range servings {
		s.end(err)
	}
	if conn != nil {
		_ = conn.Close()
	}
	l.cancel()
	_ = l.pipe.Close()
	l.path.release()
	l.work.Wait()
	l.links.remove(l)
	l.log.Info("a link is over", "err", err)
	if l.announced {
		l.links.node.Emit(cdn.LinkDown{Node: l.Peer(), URL: l.url, Lasted: time.Since(l.upSince), Err: err})
	}
	close(l.done)
}

// Receive takes a datagram that the port's reader has found to be ours.
func (l *Link) Receive(now time.Time, packet []byte, from netip.AddrPort) (routine bool) {
	if len(packet) < 2 {
		return false
	}
	switch first := packet[0]; {
	case first < 4:
		l.path.receive(packet, from)
		l.greet()
	case first >= 20 && first < 64:
		l.path.heard(packet, from)
		l.receiveRecord(packet)
	case first >= 128 && first < 192 && packet[1] >= 192 && packet[1] < 224:
		l.media.receiveRTCP(now, packet)
	case first >= 128 && first < 192:
		l.media.receiveRTP(now, packet)
	}
	return l.idle.Load()
}

// countLocked notes for the port's reader whether the link carries nothing.
func (l *Link) countLocked() {
	l.idle.Store(l.conn != nil && len(l.fetches) == 0 && len(l.servings) == 0)
}

// receiveRecord gives a DTLS record to the connection. Where the other node has
// dialled, the first one begins the handshake.
func (l *Link) receiveRecord(record []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.stopped:
		return
	case !l.path.usable():
		if !l.dialed {
			l.hello.Keep(record)
		}
		return
	case l.conn != nil && !dtlssrtp.Protected(record, true):
		return // anybody may have written it
	case l.dialed && dtlssrtp.IsClientHello(record):
		return // of a link that the other node was dialling, which is not made
	}
	l.pipe.Put(record)
	l.shakeLocked()
}

// greet takes the ClientHello that waits for an address to answer to.
func (l *Link) greet() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.hello.Len() == 0 || l.stopped || !l.path.usable() {
		return
	}
	for _, record := range l.hello.Take() {
		l.pipe.Put(record)
	}
	l.shakeLocked()
}

// shakeLocked begins the handshake, once.
func (l *Link) shakeLocked() {
	if !l.shaking && !l.stopped {
		l.shaking = true
		l.work.Go(l.shake)
	}
}

func (l *Link) sendRecord(record []byte) error { return l.path.send(record) }
