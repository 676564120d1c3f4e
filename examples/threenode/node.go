package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/examples/internal/console"
	"github.com/deltacdn/delta/examples/internal/media"
	"github.com/deltacdn/delta/examples/threenode/web"
	"github.com/deltacdn/delta/relay"
	"github.com/deltacdn/delta/signal"
)

// node is one node of the CDN with its web server.
type node struct {
	name       string
	role       web.Role
	url        string
	cdn        *cdn.Node
	up         *relay.Relay  // nil: it fetches from no other
	edge       *edge.Edge    // nil: it serves no viewers
	server     *relay.Server // nil: it serves no nodes
	canPublish bool

	listener net.Listener
	mux      *http.ServeMux
	http     *http.Server
	wg       sync.WaitGroup // of the web server
	log      *slog.Logger

	cord  *cord
	peers func() []web.Peer
}

// listenLocked opens a node's ports: TCP for HTTP and, under the same number if
// there was a choice, UDP for media.
func (c *cluster) listenLocked(p *place) (*node, error) {
	o := c.options
	addr := net.JoinHostPort(p.host, p.tcp)
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, busy(p.name, addr, err)
	}
	bound := l.Addr().(*net.TCPAddr)
	p.tcp = strconv.Itoa(bound.Port)
	if p.url == "" {
		p.url = pageURL(p.host, bound.Port, o)
	}
	n := &node{
		name: p.name, role: p.role, url: p.url, listener: l, mux: http.NewServeMux(), log: c.log.With("node", p.name),
		peers: func() []web.Peer { return c.peers(p.name) },
	}
	n.cord = newCord(c.transport.Clone())
	bind, offered, err := media.Addresses(p.host, n.cord)
	if err != nil {
		_ = l.Close()
		return nil, err
	}
	config := cdn.Config{
		ID: cdn.NodeID(p.name), Addr: net.JoinHostPort(bind, p.udp), PublicIPs: offered,
		URL: n.url, Logger: c.log, OnEvent: n.event, Net: n.cord,
		Trust: cdn.Trust{Secret: c.secret},
	}
	if o.public.IsValid() {
		config.PublicIPs = []netip.Addr{o.public}
	}
	if n.cdn, err = cdn.Listen(config); err != nil {
		_ = l.Close()
		return nil, busy(p.name, addr, err)
	}
	p.udp = strconv.Itoa(n.cdn.Addr().(*net.UDPAddr).Port)
	n.mount("/", web.Handler(n.status))
	kills := web.Switches(switches{c, p.name}, o.kills)
	n.mount("/kill", kills)
	n.mount("/restore", kills)
	return n, nil
}

func flagOf(name string) string {
	switch name {
	case "relay1":
		return "relay-addr"
	case "relay2":
		return "relay2-addr"
	}
	return name
}

func busy(name, addr string, err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%s: %s is in use; choose another with -%s HOST:PORT", name, addr, flagOf(name))
	}
	return fmt.Errorf("-%s: %w", flagOf(name), err)
}

func pageURL(host string, port int, o options) string {
	scheme := "http"
	if o.tls.cert != "" {
		scheme = "https"
	}
	if ip, err := netip.ParseAddr(host); o.public.IsValid() && (host == "" || err == nil && ip.IsUnspecified()) {
		host = o.public.String()
	} else if host == "" || err == nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return scheme + "://" + net.JoinHostPort(host, strconv.Itoa(port))
}

func (n *node) mount(path string, h http.Handler) { n.mux.Handle(path, h) }

// serve runs the web server until close.
func (n *node) serve(files tlsFiles, failed chan<- error) {
	n.http = signal.ServerDefaults(&http.Server{
		Handler:  n.mux,
		ErrorLog: log.New(discard{}, "", 0), // browsers that refuse a certificate, and such
	})
	n.wg.Go(func() {
		var err error
		if files.cert == "" {
			err = n.http.Serve(n.listener)
		} else {
			n.http.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12}
			err = n.http.ServeTLS(n.listener, files.cert, files.key)
		}
		if !errors.Is(err, http.ErrServerClosed) {
			select {
			case failed <- fmt.Errorf("%s: %w", n.name, err):
			default: // one has failed, and that ends them all
			}
		}
	})
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// close ends the sessions first, so that those who play hear of it by their
// event streams, which the web server then can finish.
func (n *node) close() {
	if err := n.cdn.Close(); err != nil && !n.cord.isCut() {
		n.log.Warn("closing", "err", err)
	}
	defer n.cord.http.CloseIdleConnections()
	if n.http == nil {
		_ = n.listener.Close()
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if n.http.Shutdown(ctx) != nil {
		_ = n.http.Close()
	}
	n.wg.Wait()
}

// cut is what others see of a crash: sockets and connections are gone, and
// nobody was told. Close has to follow.
func (n *node) cut() {
	n.cord.sever()
	_ = n.http.Close()
}

// status is what the node's pages show.
func (n *node) status() web.Status {
	return console.Node{
		CDN: n.cdn, Name: n.name, URL: n.url, Role: n.role, CanPublish: n.canPublish, CanKill: true,
		Up: n.up, Server: n.server, Edge: n.edge, Peers: n.peers(),
	}.Status()
}

// event logs what an operator would want to know.
func (n *node) event(e cdn.Event) {
	switch e := e.(type) {
	case cdn.SessionStarted:
		n.log.Info("session started", "stream", e.Stream, "action", e.Action, "session", e.Session)
	case cdn.SessionEnded:
		n.log.Info("session ended", "stream", e.Stream, "action", e.Action, "session", e.Session, "lasted", e.Lasted, "err", e.Err)
	case cdn.StreamStarted:
		n.log.Info("stream started", "stream", e.Stream)
	case cdn.StreamEnded:
		n.log.Info("stream ended", "stream", e.Stream, "err", e.Err)
	case cdn.LinkUp:
		n.log.Info("link up", "with", e.Node, "dialed", e.URL)
	case cdn.LinkDown:
		n.log.Info("link down", "with", e.Node, "lasted", e.Lasted, "err", e.Err)
	case cdn.UpstreamChanged:
		n.log.Info("another upstream", "stream", e.Stream, "from", e.URL, "standby", e.Standby, "err", e.Err)
	case cdn.InputChanged:
		n.log.Info("another input", "stream", e.Stream, "epoch", e.Epoch)
	case cdn.TrackUnplayable: // the edge logs it
	case cdn.ViewerSlow:
		n.log.Info("a viewer is slow", "stream", e.Stream, "session", e.Session, "layer", e.Layer, "paused", e.Paused)
	}
}
