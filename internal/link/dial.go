package link

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/halfopen"
	"github.com/deltacdn/delta/signal"
)

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
	l.path.checkAll() // ahead of the ClientHello, at which nobody looks before
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
	if err := l.path.name(); err != nil {
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
	if l.want != "" && r.node != l.want { // it is not there any more, or never was
		return fmt.Errorf("%w: node %s answers where %s should be", cdn.ErrPeerLost, r.node, l.want)
	}
	// It was this node that chose whom to ask, so the answer counts as local where
	// nothing is configured.
	verify, err := admit(ls.trust, r, proved, true)
	if err != nil {
		return err
	}
	r.vouched = proved || verify != nil
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
	if proved {
		now := time.Now()
		if err := ls.proofs.take(now, r, ls.trust.RequireTime); err != nil {
			if errors.Is(err, errClocks) && ls.proofs.warn(now) {
				ls.node.Logger().Warn("a node is refused a link", "peer", string(r.node), "err", err)
			}
			return nil, err
		}
	}
	if !ls.reaches(r.candidates) {
		return nil, fmt.Errorf("%w: of the addresses of node %s none is of this one's kind", cdn.ErrUnsupported, r.node)
	}
	if r.vouched = proved || verify != nil; !proved && !ls.trust.Open() {
		r.control = nil // who could have changed the offer could have put them in
	}
	l := ls.newLink(false, "")
	l.asker = halfopen.Asker{From: halfopen.Source(o.RemoteAddr), Known: proved || ls.trust.Open(), Since: l.begun}
	l.meet(r, verify)
	if err := ls.add(l); err != nil {
		return nil, err
	}
	if err := l.path.name(); err != nil { // it has given way to others already, say
		l.end(err)
		return nil, l.Err()
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

// reaches reports whether a link with one of these addresses can come about: this
// node may have IPv4 only, and the other IPv6.
func (ls *Links) reaches(all []netip.AddrPort) bool {
	return slices.ContainsFunc(ls.transport.Candidates, func(a net.Addr) bool {
		ours, err := netip.ParseAddrPort(a.String())
		return err == nil && slices.ContainsFunc(all, func(theirs netip.AddrPort) bool {
			return ours.Addr().Unmap().Is4() == theirs.Addr().Is4()
		})
	})
}

// expire ends a link that the other node has asked for and does not make.
func (l *Link) expire() {
	t := time.NewTimer(connectTimeout)
	defer t.Stop()
	claim := time.NewTicker(claimEvery)
	defer claim.Stop()
	for {
		select {
		case <-l.up:
			return
		case <-l.ctx.Done():
			return
		case <-claim.C:
			l.path.claim()
		case <-t.C:
			l.mu.Lock()
			chosen := l.chosen
			l.mu.Unlock()
			if chosen {
				l.links.doubt(l.Peer())
			}
			l.end(fmt.Errorf("%w: no connection within %v", cdn.ErrTimeout, connectTimeout))
			return
		}
	}
}

// claimEvery is how often a link that is not up asks the port for what comes from
// its peer's address, which another may have: one with the same node, that is
// lost and does not know it yet.
const claimEvery = 50 * time.Millisecond
