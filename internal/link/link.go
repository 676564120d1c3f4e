// Package link is the standing connection between two nodes, which all streams
// between them share, in both directions. It is an [endpoint.Endpoint] whose DTLS
// connection stays up for the control protocol (package control) and whose SRTP
// carries the media. It uses the node's port, and one exchange of signaling makes it.
//
// Locks are taken in this order, and a goroutine that holds one takes only later ones:
//
//	Links.mu, outbound.telling > Link.mu > talk.mu > the endpoint's
//	media.mu > inbound.mu, source.mu
//	reader.mu > source.mu, arrivals.mu
//	outbound.mu > its send.Set's
//
// No lock of the package is held while an event is
// handled, a Source is asked, or a function of the user is called.
package link

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/endpoint"
	"github.com/deltacdn/delta/internal/endpoint/halfopen"
	"github.com/deltacdn/delta/internal/link/control"
	"github.com/deltacdn/delta/internal/trouble/reason"
	"github.com/deltacdn/delta/signal"
)

// A Link is the connection with one other node. It is made by [Links], and ends
// by itself when the other node is lost. Its methods may be called concurrently.
type Link struct {
	// static
	links    *Links
	dialed   bool      // by this node
	to       cdn.Entry // that was dialled, with the address if there is one
	dialer   signal.LinkDialer
	begun    time.Time
	up       chan struct{} // closed when the link is up
	gotHello chan struct{} // closed when the other node has said hello
	starter  sync.Once
	work     sync.WaitGroup
	slot     halfopen.Slot // of a link that was not dialled, while it is half-open
	uncount  func()        // takes the link from the node's totals

	conn       endpoint.Endpoint
	talk       talk
	media      media
	adaptation adaptation
	idle       atomic.Bool // it is up and carries nothing

	mu      sync.Mutex // guards what follows
	peer    peer
	subs    subscriptions
	calls   calls
	upSince time.Time
	rates   rates
}

// peer is what is known of the other node.
type peer struct {
	remote    // who it is; of no node before the answer
	log       *slog.Logger
	places    []string // where its signaling answers, as far as that is known, the newest last
	preferred bool     // the link counts ahead of another with the same node, which was not made
	leaving   bool     // the node is
}

// subscriptions are the streams that a link carries, by the subscriber's number.
type subscriptions struct {
	in   map[uint64]*inbound
	out  map[uint64]*outbound
	over bool // the link ends, and takes no more
}

// newLink returns a link that this node dials at a place, or, for the zero Entry, one
// that the other node r dials.
func (ls *Links) newLink(to cdn.Entry, r remote) *Link {
	now := time.Now()
	l := &Link{
		links: ls, dialed: to.URL != "", to: to, begun: now, up: make(chan struct{}), gotHello: make(chan struct{}),
		subs:  subscriptions{in: make(map[uint64]*inbound), out: make(map[uint64]*outbound)},
		calls: calls{ours: make(map[uint64]chan<- control.Replied), theirs: make(map[uint64]context.CancelFunc)},
	}
	l.peer.learn(to.Place())
	l.setPeer(r)
	l.talk.init(now, ls.hello(), l.conn.Write)
	l.media.init(l)
	l.adaptation.init(now)
	l.initEndpoint(r.Remote)
	return l
}

// Peer returns the node at the other end, "" before it has said who it is.
func (l *Link) Peer() cdn.NodeID { return l.remote().node }

// Err returns why the link ends or ended, nil while it lives.
func (l *Link) Err() error { return l.conn.Err() }

// Done is closed when the link is over, and everything is given back.
func (l *Link) Done() <-chan struct{} { return l.conn.Done() }

// end begins the link's end and does not wait. The first reason stays.
func (l *Link) end(err error) { l.conn.End(err) }

// Close ends the link and waits for it.
func (l *Link) Close() error {
	l.end(cdn.ErrClosed)
	<-l.Done()
	return nil
}

func (l *Link) remote() remote {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.peer.remote
}

func (l *Link) logger() *slog.Logger {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.peer.log
}

// setPeer notes who the other node is. The URL that it gives itself is not learned: it
// may be another's, whose streams would then be asked of this one.
func (l *Link) setPeer(r remote) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.peer.remote, l.peer.log = r, l.links.node.Logger()
	if r.node != "" {
		l.peer.log = l.peer.log.With("peer", string(r.node))
	}
}

// maxPlaces bounds the places of one node: with another one more it is dialled again,
// at worst, to find that there is a link with it.
const maxPlaces = 8

// learn notes a place at which the other node's signaling has answered.
func (p *peer) learn(place string) {
	if place == "" || slices.Contains(p.places, place) {
		return
	}
	if len(p.places) >= maxPlaces {
		p.places = slices.Delete(p.places, 0, 1)
	}
	p.places = append(p.places, place)
}

// run minds the deadlines of the link, and handles the events of its control protocol.
func (l *Link) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	due := time.Now()
	for {
		now := time.Now()
		if now.Sub(due) > stalled { // it is this node that was not there
			l.talk.heldUp(now)
		}
		events, wait := l.tend(now)
		due = now.Add(wait)
		for _, e := range events {
			l.handle(e)
		}
		timer.Reset(wait)
		select {
		case <-l.conn.Context().Done():
			return
		case <-l.talk.kick:
		case <-timer.C:
		}
	}
}

// tend does what is due. It returns the events to handle, and the time until something
// is due again.
func (l *Link) tend(now time.Time) ([]control.Event, time.Duration) {
	reports := l.media.tend(now)
	l.mu.Lock()
	carrying := l.subs.any()
	l.rates.count(now, l.media.received.Load(), l.adaptation.trunk.Bytes())
	l.mu.Unlock()
	events, next := l.talk.tend(now, status{heard: l.media.lastHeard(), carrying: carrying, load: l.links.node.Load()})
	if next.IsZero() || reports.Before(next) {
		next = reports
	}
	if carrying || l.adaptation.policy != nil {
		if due := l.adapt(now); due.Before(next) {
			next = due
		}
	}
	return events, max(next.Sub(now), 0)
}

// handle acts on an event of the control protocol.
func (l *Link) handle(e control.Event) {
	switch e := e.(type) {
	case control.Opened:
		l.opened(e)
	case control.Asked:
		l.serve(e)
	case control.Wanted:
		if s := l.outbound(e.ID); s != nil {
			s.want(e.Layers)
		}
	case control.Left:
		if s := l.outbound(e.ID); s != nil {
			s.end(cdn.ErrClosed)
		}
	case control.Accepted:
		if f := l.inbound(e.ID); f != nil {
			f.accepted(e.Subscribed)
		}
	case control.Ended:
		if f := l.inbound(e.ID); f != nil {
			f.end(l.refused(e.Reason))
		}
	case control.Leaving:
		l.leaves(e.Yes)
	case control.Called:
		l.called(e)
	case control.Cancelled:
		l.cancelled(e.ID)
	case control.Replied:
		l.replied(e)
	case control.Closed:
		l.end(l.closed(e))
	}
}

// opened says that the other node is who it should be.
func (l *Link) opened(e control.Opened) {
	if err := l.remote().is(e.Hello); err != nil {
		l.end(err)
		return
	}
	l.logger().Debug("a link is up", "dialed", l.dialed, "version", e.Version) // which is an event
	close(l.gotHello)
	l.links.node.Emit(cdn.LinkUp{Node: l.Peer(), URL: l.to.URL})
}

// closed returns the error for the end of the control protocol.
func (l *Link) closed(e control.Closed) error {
	switch {
	case errors.Is(e.Err, control.ErrPeerSilent):
		return fmt.Errorf("%w: %w", cdn.ErrPeerLost, e.Err)
	case errors.Is(e.Err, control.ErrVersion):
		return fmt.Errorf("%w: %w", cdn.ErrUnsupported, e.Err)
	case e.Err == nil:
		return l.remoteError(reason.Error(e.Reason.Code), e.Reason.Text)
	}
	return e.Err
}

// remoteError is an error that the other node has reported.
func (l *Link) remoteError(err error, text string) error {
	if text != "" {
		err = fmt.Errorf("%w: %s", err, text)
	}
	return &cdn.Error{Op: "link", Node: l.Peer(), Err: err}
}

// maxInstead is how many other nodes one that is full or leaving names.
const maxInstead = 3

// refused is the error for a stream that the other node does not give, or not any more.
func (l *Link) refused(r control.Reason) error {
	err := l.remoteError(reason.Error(r.Code), r.Text).(*cdn.Error) //nolint:forcetypeassert,errorlint // it is one
	for _, o := range r.Instead[:min(len(r.Instead), maxInstead)] {
		if _, bad := cdn.ParseNodeID(o.Node); bad == nil && o.URL != "" {
			err.Instead = append(err.Instead, cdn.Entry{Node: cdn.NodeID(o.Node), URL: o.URL})
		}
	}
	return err
}

func (s *subscriptions) any() bool { return len(s.in)+len(s.out) > 0 }

func (l *Link) outbound(id uint64) *outbound {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.subs.out[id]
}

func (l *Link) inbound(id uint64) *inbound {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.subs.in[id]
}

// removeInbound and removeOutbound forget a subscription that is over.
func (l *Link) removeInbound(id uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.subs.in, id)
	l.updateIdleLocked()
}

func (l *Link) removeOutbound(id uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.subs.out, id)
	l.updateIdleLocked()
}

// endSubscriptions takes all subscriptions from the link, for good.
func (l *Link) endSubscriptions() (in map[uint64]*inbound, out map[uint64]*outbound) {
	l.mu.Lock()
	defer l.mu.Unlock()
	in, out = l.subs.in, l.subs.out
	l.subs = subscriptions{over: true}
	l.updateIdleLocked()
	return in, out
}

// updateIdleLocked tells the port's reader whether the link carries nothing.
func (l *Link) updateIdleLocked() { l.idle.Store(l.isUp() && !l.subs.any()) }
