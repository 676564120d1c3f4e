// Package inproc is signaling by function call, for tests and for networks
// whose nodes are all in one process. Media goes over sockets all the same.
package inproc

import (
	"context"
	"errors"
	"fmt"
	"net"
	neturl "net/url"
	"strings"
	"sync"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/signal"
)

// Config sets up a [Network].
type Config struct {
	// Delay is how long each call takes until it is answered, as a round trip would. If
	// zero, none.
	Delay time.Duration
}

// A Network connects dialers with handlers. It is a [signal.Dialer]. Its methods may be
// called concurrently.
type Network struct {
	delay time.Duration

	mu       sync.Mutex
	handlers map[string]signal.Handler
}

// New returns a Network without handlers.
func New(c Config) *Network {
	return &Network{delay: c.Delay, handlers: make(map[string]signal.Handler)}
}

// Handle lets h answer calls to URLs that begin with prefix, such as "http://origin/whip/".
// The longest prefix counts. A nil h removes it. A call with an address
// ([signal.WithAddr]) is for a prefix with that address in place of the host, such as
// "http://10.0.0.1/link/".
func (n *Network) Handle(prefix string, h signal.Handler) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if h == nil {
		delete(n.handlers, prefix)
		return
	}
	n.handlers[prefix] = h
}

// here is the address of nodes of this process, which have to be on this machine where
// nothing is configured by which they know each other. Clients have no address.
const here = "127.0.0.1:0"

// Dial calls the handler of url. The rest of url after the handler's prefix is the stream,
// if o names none. A [signal.RedirectError] is followed.
func (n *Network) Dial(ctx context.Context, url string, o signal.Offer) (signal.RemoteSession, error) {
	return n.dial(ctx, url, o, 0)
}

const maxRedirects = 3

// redirected returns the URL to which an error redirects an offer for target, "" if it does
// not.
func redirected(err error, target string) string {
	var to *signal.RedirectError
	if !errors.As(err, &to) {
		return ""
	}
	_, rest, _ := strings.Cut(target, "://")
	_, path, ok := strings.Cut(rest, "/")
	if !ok {
		return ""
	}
	return strings.TrimRight(to.URL, "/") + "/" + path
}

func (n *Network) dial(ctx context.Context, url string, o signal.Offer, redirects int) (signal.RemoteSession, error) {
	if err := n.wait(ctx); err != nil {
		return nil, err
	}
	h, rest := n.find(at(ctx, url))
	if h == nil {
		return nil, &cdn.Error{Op: "dial", Stream: o.Stream, Err: fmt.Errorf("%w: nobody at %s", cdn.ErrPeerLost, url)}
	}
	if o.Stream == "" {
		o.Stream = cdn.StreamID(rest)
	}
	if o.RemoteAddr == "" && o.SDP == "" {
		o.RemoteAddr = here
	}
	s, err := start(ctx, h, o)
	if to := redirected(err, url); to != "" && ctx.Err() == nil && redirects < maxRedirects {
		return n.dial(ctx, to, o, redirects+1)
	}
	if err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		_ = s.Close() // the caller will not
		return nil, ctx.Err()
	}
	return remote{network: n, session: s, invited: o.SDP == "", sdp: s.SDP()}, nil
}

// DialLink calls the handler of base + "/link/", as nodes link to each other.
func (n *Network) DialLink(ctx context.Context, base string, offer []byte) ([]byte, error) {
	if err := n.wait(ctx); err != nil {
		return nil, err
	}
	fail := func(reason error) ([]byte, error) {
		return nil, &cdn.Error{Op: "link", Err: fmt.Errorf("%w: %s", reason, base)}
	}
	h, _ := n.find(at(ctx, strings.TrimRight(base, "/")+"/link/"))
	if h == nil {
		return fail(cdn.ErrPeerLost)
	}
	links, ok := h.(signal.LinkHandler)
	if !ok {
		return fail(cdn.ErrUnsupported)
	}
	return links.Link(ctx, signal.LinkOffer{Body: offer, RemoteAddr: here})
}

// at returns target with the address of [signal.WithAddr] for a host, if ctx has one:
// handlers of several nodes behind one name are told apart by it.
func at(ctx context.Context, target string) string {
	addr, ok := signal.Addr(ctx)
	if !ok {
		return target
	}
	u, err := neturl.Parse(target)
	if err != nil {
		return target
	}
	u.Host = strings.TrimSuffix(net.JoinHostPort(addr.String(), u.Port()), ":")
	return u.String()
}

func start(ctx context.Context, h signal.Handler, o signal.Offer) (signal.Session, error) {
	if o.SDP != "" {
		return h.Offer(ctx, o)
	}
	inviter, ok := h.(signal.Offerer)
	if !ok {
		return nil, &cdn.Error{Op: "dial", Stream: o.Stream, Err: fmt.Errorf("%w: an SDP offer is wanted", cdn.ErrInvalid)}
	}
	return inviter.Invite(ctx, o)
}

func (n *Network) find(url string) (h signal.Handler, rest string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	longest := -1
	for prefix, candidate := range n.handlers {
		if tail, ok := strings.CutPrefix(url, prefix); ok && len(prefix) > longest {
			longest, h, rest = len(prefix), candidate, tail
		}
	}
	return h, rest
}

func (n *Network) wait(ctx context.Context) error {
	if n.delay <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(n.delay)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// remote is the client's view of a session. It is notified of the end at once.
type remote struct {
	network *Network
	session signal.Session
	invited bool
	sdp     string // as it was when the call returned
}

func (r remote) SDP() string { return r.sdp }

func (r remote) Accept(ctx context.Context, answer string) error {
	if err := r.network.wait(ctx); err != nil {
		return err
	}
	s, ok := r.session.(signal.OfferedSession)
	if !ok || !r.invited {
		return &cdn.Error{Op: "accept", Err: fmt.Errorf("%w: the server has answered", cdn.ErrInvalid)}
	}
	return s.Accept(ctx, answer)
}

func (r remote) Patch(ctx context.Context, fragment string) (string, error) {
	if err := r.network.wait(ctx); err != nil {
		return "", err
	}
	select {
	case <-r.session.Done():
		return "", &cdn.Error{Op: "patch", Err: r.session.Err()}
	default:
	}
	return r.session.Patch(ctx, fragment)
}

// Done and Err implement [signal.NotifyingSession].
func (r remote) Done() <-chan struct{} { return r.session.Done() }

func (r remote) Err() error {
	select {
	case <-r.session.Done():
		return r.session.Err()
	default:
		return nil
	}
}

func (r remote) Close(ctx context.Context) error {
	if err := r.network.wait(ctx); err != nil {
		return err
	}
	return r.session.Close()
}
