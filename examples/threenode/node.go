package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
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
	"github.com/deltacdn/delta/cdn/admin"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/internal/demo/console"
	"github.com/deltacdn/delta/internal/demo/media"
	"github.com/deltacdn/delta/internal/demo/web"
	"github.com/deltacdn/delta/origin"
	"github.com/deltacdn/delta/relay"
	"github.com/deltacdn/delta/signal"
)

// node is one node of the CDN with its web server.
type node struct {
	name   string
	role   web.Role
	url    string
	cdn    *cdn.Node
	live   *origin.Origin // nil: it takes no publishers
	up     *relay.Relay   // nil: it fetches from no other
	edge   *edge.Edge     // nil: it serves no viewers
	server *relay.Server  // nil: it serves no nodes
	admin  *admin.API     // what the node knows of the network

	listener net.Listener
	mux      *http.ServeMux
	http     *http.Server
	wg       sync.WaitGroup // of the web server
	log      *slog.Logger

	faults *faultNet
	peers  func() []web.Peer
}

// listenLocked opens a node's ports: TCP for HTTP, another one for media of clients
// whose UDP does not get through and, under the number of the first if
// there was a choice, UDP for media.
func (c *cluster) listenLocked(p *slot) (*node, error) {
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
	n.faults = newFaultNet(c.transport.Clone())
	bind, offered, err := media.Addresses(p.host, n.faults)
	if err != nil {
		_ = l.Close()
		return nil, err
	}
	config := cdn.Config{
		ID: cdn.NodeID(p.name), Addr: net.JoinHostPort(bind, p.udp), TCPAddr: net.JoinHostPort(bind, p.mediaTCP), PublicIPs: offered,
		URL: n.url, Logger: c.log, OnEvent: cdn.LogEvents(n.log), Net: n.faults,
		Trust: cdn.Trust{Secret: c.secret},
	}
	if o.public.IsValid() {
		config.PublicIPs = []netip.Addr{o.public}
	}
	if n.cdn, err = cdn.Listen(config); err != nil {
		_ = l.Close()
		return nil, busy(p.name, addr, err)
	}
	p.udp, p.mediaTCP = strconv.Itoa(n.cdn.Addr().(*net.UDPAddr).Port), strconv.Itoa(n.cdn.TCPAddr().(*net.TCPAddr).Port)
	n.mount("/", web.Handler(n.status))
	kills := web.Switches(killSwitch{c, p.name}, o.kills)
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

// close ends the sessions first, so that players are told by their event streams, which
// the web server can then finish.
func (n *node) close() {
	if err := n.cdn.Close(); err != nil && !n.faults.wasCut() {
		n.log.Warn("closing", "err", err)
	}
	defer n.faults.http.CloseIdleConnections()
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

// cut closes the node's sockets and connections without a goodbye, as a crash does.
// The caller closes the node afterwards.
func (n *node) cut() {
	n.faults.cut()
	_ = n.http.Close()
}

// status is what the node's pages show.
func (n *node) status() web.Status {
	return console.Node{
		CDN: n.cdn, Name: n.name, URL: n.url, Role: n.role, CanPublish: n.live != nil, CanKill: true, Network: web.Everybody,
		Up: n.up, Server: n.server, Edge: n.edge, Peers: n.peers(),
	}.Status()
}

// serveNetwork shows the network to everybody who sees the pages. The kill switch is the
// only way to change it here.
func (n *node) serveNetwork(w http.ResponseWriter, r *http.Request) {
	network, err := n.admin.Network(r.Context())
	if err != nil {
		http.Error(w, "the node is closing", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(network) // a client that is gone needs no answer
}
