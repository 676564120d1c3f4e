package relay

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/link"
	"github.com/deltacdn/delta/internal/pcsend"
	"github.com/deltacdn/delta/internal/send"
	"github.com/deltacdn/delta/signal"
)

// readyTimeout bounds how long another node waits for a stream that this one
// is still fetching itself.
const readyTimeout = 8 * time.Second

// A Server gives the streams of a Source to the relays of other nodes. It is a
// [signal.Handler] that makes the offers itself ([signal.Offerer]). Its methods
// may be called concurrently.
type Server struct {
	node   *cdn.Node
	source cdn.Source
	links  *link.Links

	tickets  *tickets
	mu       sync.Mutex
	sessions map[*serving]struct{}
	closed   bool
	work     sync.WaitGroup
}

// NewServer makes a Server on node, which closes it when it is closed itself.
func NewServer(node *cdn.Node, source cdn.Source) (*Server, error) {
	if source == nil {
		return nil, &cdn.Error{Op: "new server", Err: fmt.Errorf("%w: no source", cdn.ErrInvalid)}
	}
	links, err := linksOf(node)
	if err != nil {
		return nil, &cdn.Error{Op: "new server", Err: err}
	}
	s := &Server{node: node, source: source, links: links, tickets: newTickets(), sessions: make(map[*serving]struct{})}
	links.Serve(source)
	node.Own(s)
	return s, nil
}

// Offer refuses: only this side knows what a stream holds, so it makes the
// offer. Viewers go to an edge.
func (s *Server) Offer(_ context.Context, o signal.Offer) (signal.Session, error) {
	return nil, &cdn.Error{Op: "fetch", Stream: o.Stream, Err: fmt.Errorf("%w: nodes are sent an offer", cdn.ErrUnsupported)}
}

// Link answers another node's offer of a link.
func (s *Server) Link(ctx context.Context, o signal.LinkOffer) ([]byte, error) {
	s.mu.Lock()
	closed := s.closed
	s.mu.Unlock()
	if closed {
		return nil, &cdn.Error{Op: "link", Err: cdn.ErrClosed}
	}
	return s.links.Link(ctx, o)
}

// Invite starts a session for another node that has no link with this one. It has
// to prove that it knows the nodes' secret, or to show a credential that an
// [cdn.Authorizer] accepts; where nothing is set by which nodes know each other
// ([cdn.Trust]), it has to be on this machine. An Authorizer is not shown the proof,
// but told of it ([cdn.AuthRequest].Trusted).
func (s *Server) Invite(ctx context.Context, o signal.Offer) (signal.OfferedSession, error) {
	id, err := cdn.ParseStreamID(string(o.Stream))
	if err != nil {
		return nil, &cdn.Error{Op: "fetch", Err: err}
	}
	trusted := s.tickets.take(s.node.Trust().Secret, id, o.Credential, time.Now())
	if trusted {
		o.Credential = ""
	} else if err := s.strange(o); err != nil {
		return nil, &cdn.Error{Op: "fetch", Stream: id, Err: err}
	}
	a, err := s.node.Authorize(ctx, cdn.AuthRequest{
		Action: cdn.ActionFetch, Stream: id, Credential: o.Credential, RemoteAddr: o.RemoteAddr, Node: o.Node, Trusted: trusted,
	})
	if err != nil {
		return nil, err
	}
	making, err := a.Enter(ctx)
	if err != nil {
		return nil, err
	}
	v, err := s.invite(making, id, o.Path, a)
	if err != nil {
		a.Leave(err)
		return nil, err
	}
	a.Start(v.End)
	return v, nil
}

// invite opens the stream and makes the session that offers it.
func (s *Server) invite(ctx context.Context, id cdn.StreamID, path []cdn.NodeID, a *cdn.Admission) (*serving, error) {
	sub, err := s.open(ctx, id, path)
	if err != nil {
		return nil, err
	}
	v := &serving{server: s, sub: sub, admission: a}
	if err := v.start(ctx); err != nil {
		return nil, err
	}
	return v, nil
}

// strange returns why there is nobody to let in who asks without a link.
func (s *Server) strange(o signal.Offer) error {
	switch {
	case s.node.Guarded():
		return nil // the Authorizer decides
	case !s.node.Trust().Open():
		return fmt.Errorf("%w: without a link, by which nodes are known here, and nobody to authorize it", cdn.ErrUnauthorized)
	case !link.IsLoopback(o.RemoteAddr):
		return fmt.Errorf("%w: without a link, from elsewhere, and nobody to authorize it", cdn.ErrUnauthorized)
	}
	return nil
}

func (s *Server) open(ctx context.Context, id cdn.StreamID, path []cdn.NodeID) (*cdn.Subscription, error) {
	sub, err := s.source.Open(ctx, cdn.Request{Stream: id, Path: path})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	if err := sub.Stream().Ready(ctx); err != nil {
		sub.Close()
		return nil, &cdn.Error{Op: "fetch", Stream: id, Err: err}
	}
	return sub, nil
}

// Serving returns how many nodes fetch each stream.
func (s *Server) Serving() map[cdn.StreamID]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	count := make(map[cdn.StreamID]int)
	for v := range s.sessions {
		count[v.sub.Stream().ID()]++
	}
	for _, l := range s.links.Stats() {
		for _, id := range l.Served {
			count[id]++
		}
	}
	return count
}

// Close ends all sessions and waits for them.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	all := make([]*pcsend.Session, 0, len(s.sessions))
	for v := range s.sessions {
		if v.Session != nil {
			all = append(all, v.Session)
		}
	}
	s.mu.Unlock()
	for _, v := range all {
		v.End(cdn.ErrClosed)
	}
	s.links.Unserve()
	s.work.Wait()
	return nil
}

// serving is the session of one node with one stream.
type serving struct {
	*pcsend.Session
	server    *Server
	sub       *cdn.Subscription
	admission *cdn.Admission
}

// start makes the session. On an error everything but the admission is given
// back.
func (v *serving) start(ctx context.Context) error {
	s := v.server
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		v.sub.Close()
		return &cdn.Error{Op: "fetch", Err: cdn.ErrClosed}
	}
	s.sessions[v] = struct{}{}
	s.work.Add(1)
	s.mu.Unlock()

	stream := v.sub.Stream()
	session, err := pcsend.Invite(ctx, pcsend.Config{
		Node: s.node, Stream: stream, Expires: v.admission.Grant().Expires, Connected: v.admission.Proved, Ended: v.ended,
	}, describing(s.node.ID(), stream))
	if err != nil {
		v.remove()
		v.sub.Close()
		return &cdn.Error{Op: "fetch", Stream: stream.ID(), Err: err}
	}
	s.mu.Lock()
	v.Session = session
	closed := s.closed
	s.mu.Unlock()
	if closed {
		session.End(cdn.ErrClosed)
	}
	s.work.Go(func() { v.watch(session) })
	return nil
}

// absentFor is how long nobody may send a stream that is served without a link
// until that ends.
const absentFor = 5 * time.Second

// watch ends the session once nobody has sent the stream for absentFor: the other
// node waits for that.
func (v *serving) watch(session *pcsend.Session) {
	stream := v.sub.Stream()
	absent := time.NewTimer(absentFor)
	defer absent.Stop()
	runs := true
	for {
		changed := stream.Changed()
		state, _ := stream.Sender()
		switch gone := state == cdn.SenderAbsent; {
		case gone && !runs:
			absent.Reset(absentFor)
		case !gone:
			absent.Stop()
		}
		runs = state == cdn.SenderAbsent
		select {
		case <-changed:
		case <-absent.C:
			session.End(&cdn.Error{Op: "fetch", Stream: stream.ID(), Err: cdn.ErrTimeout})
			return
		case <-session.Done():
			return
		}
	}
}

// Accept implements signal.OfferedSession.
func (v *serving) Accept(ctx context.Context, answer string) error {
	if strings.Contains(answer, catchUp) {
		v.CatchUp()
	}
	return v.Session.Accept(ctx, answer)
}

func (v *serving) remove() {
	v.server.mu.Lock()
	delete(v.server.sessions, v)
	v.server.mu.Unlock()
	v.server.work.Done()
}

// ended is called when the session is over.
func (v *serving) ended(err error, _ send.Stats) {
	v.sub.Close()
	v.admission.Leave(err)
	v.remove()
}
