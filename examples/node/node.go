package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/examples/internal/media"
	"github.com/deltacdn/delta/examples/threenode/web"
	"github.com/deltacdn/delta/origin"
	"github.com/deltacdn/delta/relay"
	"github.com/deltacdn/delta/signal"
	"github.com/deltacdn/delta/signal/whep"
	"github.com/deltacdn/delta/signal/whip"
)

// node is the node with its web server.
type node struct {
	options options
	url     string
	node    *cdn.Node
	live    *origin.Origin // nil: it is no origin
	up      *relay.Relay   // nil: it fetches nothing
	server  *relay.Server  // nil: it serves no nodes
	view    *edge.Edge     // nil: it serves no viewers

	peers  *peers
	mux    *http.ServeMux
	http   *http.Server
	failed chan error
	work   sync.WaitGroup
}

// start brings the node up.
func start(o options, log *slog.Logger) (*node, error) {
	l, err := net.Listen("tcp", o.http)
	if err != nil {
		return nil, fmt.Errorf("-http: %w", err)
	}
	n := &node{options: o, peers: newPeers(), mux: http.NewServeMux(), failed: make(chan error, 1)}
	n.url = pageURL(o, l.Addr().(*net.TCPAddr).Port)
	udp, offered, err := mediaAddresses(o)
	if err != nil {
		_ = l.Close()
		return nil, err
	}
	n.node, err = cdn.Listen(cdn.Config{
		ID: cdn.NodeID(o.name), Addr: udp, PublicIPs: offered, URL: n.url,
		Trust: cdn.Trust{Secret: o.secret}, Logger: log,
	})
	if err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("-udp: %w", err)
	}
	if err := n.compose(); err != nil {
		_ = l.Close()
		_ = n.node.Close()
		return nil, err
	}
	n.serve(l)
	return n, nil
}

// mediaAddresses returns where the node takes media, and which addresses it offers
// for that.
func mediaAddresses(o options) (udp string, offered []netip.Addr, err error) {
	if o.udp != "" {
		return o.udp, o.public, nil
	}
	host, offered, err := media.Addresses(o.httpHost, cdn.SystemNetwork())
	if len(o.public) > 0 {
		offered = o.public
	}
	return net.JoinHostPort(host, o.httpNum), offered, err
}

// pageURL is where others reach the node's web server.
func pageURL(o options, port int) string {
	host := o.httpHost
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		host = "127.0.0.1"
		if len(o.public) > 0 {
			host = o.public[0].String()
		}
	}
	return "http://" + net.JoinHostPort(host, strconv.Itoa(port))
}

// compose makes the services of the node's roles: each is a source to the next.
func (n *node) compose() error {
	var sources []cdn.Source
	if n.options.roles.origin {
		if err := n.takePublishers(); err != nil {
			return err
		}
		sources = append(sources, n.live)
	}
	if len(n.options.entry) > 0 {
		var err error
		if n.up, err = relay.New(n.node, relay.Config{Directory: cdn.Static(n.options.entry...)}); err != nil {
			return err
		}
		sources = append(sources, n.up)
	}
	source := cdn.First(sources...)
	if n.options.roles.origin || n.options.roles.relay {
		if err := n.serveNodes(source); err != nil {
			return err
		}
	}
	if n.options.roles.edge {
		if err := n.serveViewers(source); err != nil {
			return err
		}
	}
	n.mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	n.mux.HandleFunc("GET /readyz", n.ready)
	n.mux.HandleFunc("GET /status", n.status)
	n.mux.Handle("/", web.Handler(n.page))
	return nil
}

func (n *node) takePublishers() (err error) {
	if n.live, err = origin.New(n.node, origin.Config{}); err != nil {
		return err
	}
	h, err := whip.New(n.live, whip.Config{Proxies: n.options.proxies, Logger: n.node.Logger()})
	if err != nil {
		return err
	}
	n.mux.Handle("/whip/", h)
	return nil
}

func (n *node) serveNodes(s cdn.Source) (err error) {
	if n.server, err = relay.NewServer(n.node, s); err != nil {
		return err
	}
	h, err := n.server.Handler(n.options.proxies...)
	if err != nil {
		return err
	}
	n.mux.Handle(relay.Prefix, h)
	return nil
}

func (n *node) serveViewers(s cdn.Source) (err error) {
	if n.view, err = edge.New(n.node, edge.Config{Source: s}); err != nil {
		return err
	}
	h, err := whep.New(n.view, whep.Config{Proxies: n.options.proxies, Logger: n.node.Logger()})
	if err != nil {
		return err
	}
	n.mux.Handle("/whep/", h)
	return nil
}

// serve runs the web server until close.
func (n *node) serve(l net.Listener) {
	n.http = signal.ServerDefaults(&http.Server{
		Handler:  n.mux,
		ErrorLog: log.New(quiet{}, "", 0), // clients that go away, and such
	})
	n.work.Go(func() {
		if err := n.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			n.failed <- err
		}
	})
}

type quiet struct{}

func (quiet) Write(p []byte) (int, error) { return len(p), nil }

// close ends the node: viewers and other nodes are told first.
func (n *node) close() {
	_ = n.node.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if n.http.Shutdown(ctx) != nil {
		_ = n.http.Close()
	}
	n.work.Wait()
	n.peers.close()
}
