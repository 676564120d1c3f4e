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
	"github.com/deltacdn/delta/internal/endpoint/halfopen"
	"github.com/deltacdn/delta/internal/trouble"
	"github.com/deltacdn/delta/signal"
)

// start dials, once.
func (l *Link) start() {
	if l.dialed {
		l.starter.Do(func() {
			l.startWork(l.run, l.dial)
		})
	}
}

// startWork starts goroutines of the link, unless the link ends.
func (l *Link) startWork(all ...func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.subs.over {
		for _, f := range all {
			l.work.Go(f)
		}
	}
}

// dial makes the connection: an offer and its answer, then checks with the ClientHello
// beside them.
func (l *Link) dial() {
	if err := l.signal(); err != nil {
		l.end(err)
		return
	}
	if !l.links.winsGlare(l) {
		l.end(ErrMoved)
		return
	}
	l.conn.Dial(l.remote().Remote)
	l.awaitUp()
}

// signal sends an offer and takes the other node's answer.
func (l *Link) signal() error {
	ls := l.links
	ctx, cancel := context.WithTimeout(l.conn.Context(), connectTimeout)
	defer cancel()
	local, err := l.conn.Open()
	if err != nil {
		return err
	}
	d := ls.description(local)
	d.Control = l.talk.first(maxControl)
	offer, err := seal(d, ls.trust, nil)
	if err != nil {
		return err
	}
	answer, err := l.dialer.DialLink(signal.WithAddr(ctx, l.to.At), l.to.URL, offer)
	if err != nil {
		switch {
		case errors.Is(err, cdn.ErrUnsupported):
			err = fmt.Errorf("%w: %w", ErrNone, err)
		case errors.Is(err, cdn.ErrUnauthorized):
			err = fmt.Errorf("%w: %w", trouble.ErrUntrusted, err)
		case errors.Is(err, cdn.ErrLoop):
			err = fmt.Errorf("%w: %w", trouble.ErrSelf, err)
		case errors.Is(err, cdn.ErrSuperseded):
			err = fmt.Errorf("%w: %w", trouble.ErrNamesake, err)
		}
		if ctx.Err() != nil && l.conn.Context().Err() == nil {
			err = fmt.Errorf("%w: %w: %w", cdn.ErrTimeout, trouble.ErrNoAnswer, err)
		}
		return err
	}
	r, proved, err := open(answer, ls.trust, offer)
	if err != nil {
		return err
	}
	if err := ls.notOurs(r); err != nil {
		return err
	}
	if l.to.Node != "" && r.node != l.to.Node { // the expected node is not there any more, or never was
		return fmt.Errorf("%w: node %s answers where %s should be", cdn.ErrPeerLost, r.node, l.to.Node)
	}
	// This node chose whom to ask, so the answer counts as local where no trust is
	// configured.
	verify, err := admit(ls.trust, r, proved, true)
	if err != nil {
		return fmt.Errorf("%w: %w", trouble.ErrUntrusted, err)
	}
	if proved || ls.trust.Open() {
		if err := ls.contest(r, l.to.Place()); err != nil {
			return err
		}
	}
	r.vouched = proved || verify != nil
	r.Verify = r.verifier(verify)
	l.setPeer(r)
	return nil
}

// Link answers another node's offer. It implements [signal.LinkHandler].
func (ls *Links) Link(_ context.Context, o signal.LinkOffer) ([]byte, error) {
	answer, err := ls.answer(o)
	if err != nil {
		if errors.Is(err, trouble.ErrUntrusted) || errors.As(err, new(*trouble.ClockError)) || errors.Is(err, errOurName) {
			ls.troubles.Wrong("", err, "remote", o.RemoteAddr) // anybody may ask, so all share one rate
		}
		return nil, &cdn.Error{Op: "link", Err: err}
	}
	return answer, nil
}

func (ls *Links) answer(o signal.LinkOffer) ([]byte, error) {
	r, proved, err := open(o.Body, ls.trust, nil)
	if err != nil {
		return nil, err
	}
	if err := ls.notOurs(r); err != nil {
		return nil, err
	}
	verify, err := admit(ls.trust, r, proved, IsLoopback(o.RemoteAddr))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", trouble.ErrUntrusted, err)
	}
	if proved {
		if err := ls.proofs.take(time.Now(), r, ls.trust.RequireTime); err != nil {
			return nil, err
		}
	}
	if proved || ls.trust.Open() { // otherwise DTLS has yet to authenticate it
		if err := ls.contest(r, o.RemoteAddr); err != nil {
			return nil, &cdn.Error{Op: "link", Err: err, Detail: sentence(err)}
		}
	}
	if !ls.reaches(r.Candidates) {
		return nil, fmt.Errorf("%w: %w: of the addresses of node %s none is of this one's kind", cdn.ErrUnsupported, trouble.ErrNoCommonFamily, r.node)
	}
	if r.vouched = proved || verify != nil; !proved && !ls.trust.Open() {
		r.control = nil // an offer that may have been changed may have got them there
	}
	r.Known, r.Verify = proved || ls.trust.Open(), r.verifier(verify)
	l := ls.newLink(cdn.Entry{}, r)
	l.slot = halfopen.Slot{From: halfopen.Source(o.RemoteAddr), Known: r.Known, Since: l.begun}
	if err := ls.add(l); err != nil {
		return nil, err
	}
	local, err := l.conn.Open()
	if err != nil { // it was evicted already, say
		l.end(err)
		return nil, l.Err()
	}
	l.startWork(l.run, l.awaitUp)
	answer, err := seal(ls.description(local), ls.trust, o.Body)
	if err != nil {
		l.end(err)
	}
	return answer, err
}

// notOurs returns an error if another node has this one's name: it is this process, or
// one that must not have the name.
func (ls *Links) notOurs(r remote) error {
	switch {
	case r.node != ls.node.ID():
		return nil
	case r.instance == ls.instance:
		return fmt.Errorf("%w: %w", cdn.ErrLoop, trouble.ErrSelf)
	}
	return fmt.Errorf("%w: %w: %w: %s", cdn.ErrSuperseded, trouble.ErrNamesake, errOurName, place(r, ""))
}

// errOurName says that another process has this node's name.
var errOurName = errors.New("it is called as this node is")

// reaches reports whether this node has an address of the same family as one of all: it
// may have IPv4 only, and the other node IPv6.
func (ls *Links) reaches(all []netip.AddrPort) bool {
	return slices.ContainsFunc(ls.node.Internal().Candidates(), func(a net.Addr) bool {
		ours, err := netip.ParseAddrPort(a.String())
		return err == nil && slices.ContainsFunc(all, func(theirs netip.AddrPort) bool {
			return ours.Addr().Unmap().Is4() == theirs.Addr().Is4()
		})
	})
}
