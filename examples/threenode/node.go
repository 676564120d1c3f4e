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
	"github.com/deltacdn/delta/examples/threenode/web"
	"github.com/deltacdn/delta/relay"
)

// node is one node of the CDN with its web server.
type node struct {
	name       string
	role       web.Role
	url        string
	cdn        *cdn.Node
	edge       *edge.Edge    // nil: it serves no viewers
	server     *relay.Server // nil: it serves no nodes
	canPublish bool

	listener net.Listener
	mux      *http.ServeMux
	http     *http.Server
	wg       sync.WaitGroup // of the web server
	log      *slog.Logger

	mu    sync.Mutex
	peers []web.Peer
}

// listen opens the node's ports: TCP for HTTP and, under the same number, UDP
// for media.
func listen(name, addr string, role web.Role, o options, log *slog.Logger) (*node, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("-%s: %q is no HOST:PORT", flagOf(name), addr)
	}
	if o.public.IsValid() && host == "127.0.0.1" {
		host = ""
	}
	l, err := net.Listen("tcp", net.JoinHostPort(host, port))
	if err != nil {
		return nil, busy(name, addr, err)
	}
	bound := l.Addr().(*net.TCPAddr)
	n := &node{name: name, role: role, listener: l, mux: http.NewServeMux(), log: log.With("node", name)}
	n.url = pageURL(host, bound.Port, o)
	udp := strconv.Itoa(bound.Port)
	if port == "0" {
		udp = port // any free one: that which is free for TCP need not be for UDP
	}
	c := cdn.Config{
		ID: cdn.NodeID(name), Addr: net.JoinHostPort(host, udp),
		URL: n.url, Logger: log, OnEvent: n.event,
	}
	if o.public.IsValid() {
		c.PublicIPs = []netip.Addr{o.public}
	}
	if n.cdn, err = cdn.Listen(c); err != nil {
		_ = l.Close()
		return nil, busy(name, addr, err)
	}
	n.mount("/", web.Handler(n.status))
	return n, nil
}

func flagOf(name string) string {
	if name == "relay" {
		return "relay-addr"
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
	n.http = &http.Server{
		Handler: n.mux, ReadHeaderTimeout: 5 * time.Second,
		ErrorLog: log.New(discard{}, "", 0), // browsers that refuse a certificate, and such
	}
	n.wg.Go(func() {
		var err error
		if files.cert == "" {
			err = n.http.Serve(n.listener)
		} else {
			n.http.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12}
			err = n.http.ServeTLS(n.listener, files.cert, files.key)
		}
		if !errors.Is(err, http.ErrServerClosed) {
			failed <- fmt.Errorf("%s: %w", n.name, err)
		}
	})
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// close ends the sessions first, so that those who play hear of it by their
// event streams, which the web server then can finish.
func (n *node) close() {
	if err := n.cdn.Close(); err != nil {
		n.log.Warn("closing", "err", err)
	}
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

func (n *node) setPeers(all []*node) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range all {
		if p != n {
			n.peers = append(n.peers, web.Peer{Name: p.name, Role: p.role, URL: p.url})
		}
	}
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
	case cdn.InputChanged:
		n.log.Info("another input", "stream", e.Stream, "epoch", e.Epoch)
	case cdn.ViewerSlow:
		n.log.Info("a viewer is slow", "stream", e.Stream, "session", e.Session, "layer", e.Layer, "paused", e.Paused)
	}
}
