package link

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/endpoint"
	"github.com/deltacdn/delta/internal/link/control"
	"github.com/deltacdn/delta/internal/trouble"
	"github.com/deltacdn/delta/internal/trouble/reason"
)

// connectTimeout bounds the time until a link is up.
const connectTimeout = 5 * time.Second

// reclaimEvery is how often a link that is not up asks the port again for its peer's
// addresses. A link with the same node that is lost and has not noticed may have them.
const reclaimEvery = 50 * time.Millisecond

// initEndpoint makes the link's end of the connection. The node that dials is the
// controlling ICE agent and the DTLS client.
func (l *Link) initEndpoint(r endpoint.Remote) {
	role := endpoint.Role{Controlling: l.dialed, Client: l.dialed, Receives: true, Data: l.receiveControl}
	if !l.dialed {
		role.Admits = func() bool { return !l.links.losesGlare(l) }
	}
	l.conn.Init(endpoint.Config{
		Transport: l.links.transport, Identity: &l.links.identity, Log: l.links.node.Internal().PionLog, Remote: r, Role: role,
		Idle: func(time.Time) bool { return l.idle.Load() },
	}, l)
}

// awaitUp ends a link that is not up within connectTimeout.
func (l *Link) awaitUp() {
	timeout := time.NewTimer(connectTimeout)
	defer timeout.Stop()
	reclaim := time.NewTicker(reclaimEvery)
	defer reclaim.Stop()
	for {
		select {
		case <-l.up:
			return
		case <-l.conn.Context().Done():
			return
		case <-reclaim.C:
			l.conn.Reclaim()
		case <-timeout.C:
			l.conn.End(l.timedOut())
			return
		}
	}
}

func (l *Link) timedOut() error {
	if l.dialed {
		return fmt.Errorf("%w: %w: no connection within %v with any of %v", cdn.ErrTimeout, trouble.ErrNoUDP, connectTimeout, l.remote().Candidates)
	}
	l.mu.Lock()
	node, preferred := l.peer.node, l.peer.preferred
	l.mu.Unlock()
	if preferred {
		l.links.distrust(node)
	}
	return fmt.Errorf("%w: no connection within %v", cdn.ErrTimeout, connectTimeout)
}

// Connected is called when both certificates have been verified. It implements
// [endpoint.Owner].
func (l *Link) Connected() error {
	r := l.remote()
	if !l.links.mayBeCalled(r) { // a node that may not must not end the other one's link, either
		return cdn.ErrSuperseded
	}
	if err := l.links.contest(r, l.to.Place()); err != nil {
		return err
	}
	if !l.links.established(l) { // another link is, and is preferred
		return cdn.ErrSuperseded
	}
	now := time.Now()
	l.mu.Lock()
	over := l.subs.over
	l.upSince, l.rates.since, l.peer.control = now, now, nil
	l.mu.Unlock()
	if over {
		return l.conn.Err()
	}
	l.conn.Accept() // ahead of asking for media
	l.talk.begin(now, l.links.node.Draining(), r.control)
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.up)
	l.updateIdleLocked()
	return nil
}

// receiveControl takes a control datagram, or nil when the other node has closed the
// connection.
func (l *Link) receiveControl(now time.Time, datagram []byte) {
	if datagram == nil {
		if goodbye := l.talk.farewell(); goodbye != nil { // run may not have come to it
			l.handle(*goodbye)
		}
		return
	}
	if err := l.talk.receive(now, datagram); err != nil {
		l.logger().Debug("a control datagram cannot be read", "err", err)
	}
}

// RTP implements [endpoint.Owner]. The control protocol tells whether the other node
// lives.
func (l *Link) RTP(now time.Time, packet []byte) (authentic bool) {
	l.media.receiveRTP(now, packet)
	return false
}

// RTCP implements [endpoint.Owner].
func (l *Link) RTCP(now time.Time, compound []byte, _ netip.AddrPort) {
	if len(compound) >= 8 && binary.BigEndian.Uint32(compound[4:]) == l.media.theirs() {
		l.media.receiveRTCP(now, compound)
	}
}

// Ending tells the other node why the link ends, and ends its subscriptions. It
// implements [endpoint.Owner].
func (l *Link) Ending(err error) (goodbye []byte, ended func()) {
	in, out := l.endSubscriptions() // first: a subscription that is made after the close has no id
	l.talk.close(time.Now(), control.Reason{Code: reason.Word(err)})
	for _, f := range in {
		f.end(f.failure(err))
	}
	for _, s := range out {
		s.end(err)
	}
	return nil, func() { l.finish(err) }
}

// finish waits for the link's goroutines, and forgets it.
func (l *Link) finish(err error) {
	l.work.Wait()
	l.uncount()
	l.links.remove(l)
	select {
	case <-l.gotHello:
		l.logger().Debug("a link is over", "err", err) // which is an event
		l.links.node.Emit(cdn.LinkDown{Node: l.Peer(), URL: l.to.URL, Lasted: time.Since(l.upSince), Err: err})
	default:
		l.logger().Debug("a link did not come about", "url", l.to.URL, "err", err)
	}
	l.links.work.Done()
}
