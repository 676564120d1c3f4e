package relay

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/link"
	"github.com/deltacdn/delta/internal/pc/pcsend"
	"github.com/deltacdn/delta/internal/send"
	"github.com/deltacdn/delta/signal"
)

// readyTimeout bounds how long another node waits for a stream that this one is still
// fetching.
const readyTimeout = 8 * time.Second

// A Server gives the streams of a Source to the relays of other nodes. It is a
// [signal.Handler] that makes the offers itself ([signal.Offerer]). Its methods may be
// called concurrently.
type Server struct {
	node   *cdn.Node
	source cdn.Source
	links  *link.Links

	tickets  *tickets
	mu       sync.Mutex
	sessions map[*outbound]struct{}
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
	s := &Server{node: node, source: source, links: links, tickets: newTickets(), sessions: make(map[*outbound]struct{})}
	links.Serve(source)
	if f, ok := source.(cdn.FetchingSource); ok && f.Fetches() {
		node.Serve(cdn.RoleRelay)
	}
	if err := s.suggest(); err != nil {
		return nil, &cdn.Error{Op: "new server", Err: err}
	}
	node.Own(s)
	return s, nil
}

// suggest sets what nodes are told that this one cannot serve: other nodes that may, where
// the directory knows some.
func (s *Server) suggest() error {
	dir := s.node.Directory()
	w, err := routesOf(s.node, dir)
	if err == nil && w.near != nil {
		s.links.Suggest(w.suggest(dir))
	}
	return err
}

// Offer refuses: only this side knows what a stream holds, so it makes the offer. Viewers
// are served by an edge.
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

// Invite starts a session for another node that has no link with this one. The node has
// to prove that it knows the nodes' secret, or to show a credential that an
// [cdn.Authorizer] accepts. Where nothing is configured by which nodes know each other
// ([cdn.Trust]), it has to be on this machine. An Authorizer is not shown the proof, but
// told of it ([cdn.AuthRequest].Trusted).
func (s *Server) Invite(ctx context.Context, o signal.Offer) (_ signal.OfferedSession, err error) {
	id, err := cdn.ParseStreamID(string(o.Stream))
	if err != nil {
		return nil, &cdn.Error{Op: "fetch", Err: err}
	}
	trusted := s.tickets.take(s.node.Trust().Secret, id, o.Credential, time.Now())
	if trusted {
		o.Credential = ""
	} else if err := s.authorizeUnlinked(o); err != nil {
		return nil, &cdn.Error{Op: "fetch", Stream: id, Err: err}
	}
	ctx, span := s.node.Continue(ctx, "serve", cdn.Attr{Key: cdn.AttrStream, Value: string(id)}, cdn.Attr{Key: cdn.AttrPeer, Value: string(o.Node)})
	defer func() { span.End(err) }()
	a, err := s.node.Authorize(ctx, cdn.AuthRequest{
		Action: cdn.ActionFetch, Stream: id, Credential: o.Credential, Query: o.Query, RemoteAddr: o.RemoteAddr, Node: o.Node, Trusted: trusted,
	})
	if err != nil {
		return nil, err
	}
	making, err := a.Enter(ctx)
	if err != nil {
		return nil, err
	}
	v := &outbound{server: s, admission: a}
	if err := v.start(making, id, o.Path); err != nil {
		a.Leave(err)
		return nil, err
	}
	a.Start(v.session.End)
	return invited{v.session, v}, nil
}

// authorizeUnlinked returns why a node without a link is refused, or nil.
func (s *Server) authorizeUnlinked(o signal.Offer) error {
	switch {
	case s.node.Internal().Guarded():
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
		if v.session != nil {
			all = append(all, v.session)
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

// An outbound subscription is one stream that one node fetches without a link.
type outbound struct {
	server    *Server
	admission *cdn.Admission
	sub       *cdn.Subscription
	session   *pcsend.Session // guarded by the server's mu while it is made; then static
}

// invited is an outbound subscription as its signaling sees it.
type invited struct {
	signal.EndableSession
	*outbound
}

// start opens the stream and makes the session that offers it. On an error everything but
// the admission is given back.
func (v *outbound) start(ctx context.Context, id cdn.StreamID, path []cdn.NodeID) (err error) {
	s := v.server
	if v.sub, err = s.open(ctx, id, path); err != nil {
		return err
	}
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
		Node: s.node, Stream: stream, Connected: v.admission.Proved, Ended: v.ended,
	}, describing(s.node.ID(), stream))
	if err != nil {
		v.remove()
		v.sub.Close()
		return &cdn.Error{Op: "fetch", Stream: id, Err: err}
	}
	s.mu.Lock()
	v.session = session
	closed := s.closed
	s.mu.Unlock()
	if closed {
		session.End(cdn.ErrClosed)
	}
	s.work.Go(v.watch)
	return nil
}

// absentFor is how long a stream that is served without a link may be without a sender.
const absentFor = 5 * time.Second

// watch ends the session once nobody has sent the stream for absentFor: the other node
// relies on that.
func (v *outbound) watch() {
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
			v.session.End(&cdn.Error{Op: "fetch", Stream: stream.ID(), Err: cdn.ErrTimeout})
			return
		case <-v.session.Done():
			return
		}
	}
}

// Accept implements signal.OfferedSession.
func (v *outbound) Accept(ctx context.Context, answer string) error {
	if strings.Contains(answer, catchUp) {
		v.session.CatchUp()
	}
	return v.session.Accept(ctx, answer)
}

func (v *outbound) remove() {
	v.server.mu.Lock()
	delete(v.server.sessions, v)
	v.server.mu.Unlock()
	v.server.work.Done()
}

// ended is called when the session is over.
func (v *outbound) ended(err error, _ send.Stats) {
	v.sub.Close()
	v.admission.Leave(err)
	v.remove()
}
