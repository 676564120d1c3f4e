package main

import (
	"cmp"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/admin"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/internal/demo/web"
	"github.com/deltacdn/delta/origin"
	"github.com/deltacdn/delta/relay"
	"github.com/deltacdn/delta/signal/link"
	"github.com/deltacdn/delta/signal/whep"
	"github.com/deltacdn/delta/signal/whip"
)

// cluster is the nodes, each in its slot, in the order in which they are started.
type cluster struct {
	// static
	options   options
	log       *slog.Logger
	client    *http.Client // trusts the nodes' certificate
	transport *http.Transport
	secret    string         // by which the nodes know each other
	failed    chan error     // a node's web server, later
	closing   sync.WaitGroup // of nodes that were killed

	mu     sync.Mutex
	closed bool
	slots  []*slot
}

// A slot is what it takes to start a node, and to start it again.
type slot struct {
	// static
	name, host, url string
	role            web.Role
	build           func(*node) error

	// guarded by the cluster's mu
	// ports; once there was a node, those that it had
	tcp, udp string
	mediaTCP string // for clients whose UDP does not get through
	node     *node  // nil: killed
}

// start brings the nodes up: the origin first, and each with those before it
// as its points of entry.
func start(o options, log *slog.Logger) (*cluster, error) {
	c := &cluster{options: o, log: log, failed: make(chan error, 1), secret: cmp.Or(o.secret, rand.Text())}
	var err error
	if c.transport, err = newTransport(o.tls); err != nil {
		return nil, err
	}
	c.client = &http.Client{Transport: c.transport}
	c.mu.Lock()
	err = c.startAllLocked()
	c.mu.Unlock()
	if err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func (c *cluster) startAllLocked() error {
	o := c.options
	live, err := c.addLocked("origin", o.origin, web.Origin, buildOrigin)
	if err != nil {
		return err
	}
	entries := []string{live.url}
	if o.relay {
		entries = nil
		for _, r := range []struct{ name, addr string }{{"relay1", o.relayAddr}, {"relay2", o.relay2Addr}} {
			p, err := c.addLocked(r.name, r.addr, web.Relay, func(n *node) error { return c.buildRelay(n, live.url) })
			if err != nil {
				return err
			}
			entries = append(entries, p.url)
		}
	}
	for _, e := range []struct{ name, addr string }{{"edge1", o.edge1}, {"edge2", o.edge2}} {
		mine := slices.Clone(entries)
		if _, err := c.addLocked(e.name, e.addr, web.Edge, func(n *node) error { return c.buildEdge(n, mine...) }); err != nil {
			return err
		}
		slices.Reverse(entries) // the next edge prefers the other relay
	}
	return nil
}

// addLocked adds a slot and starts its first node.
func (c *cluster) addLocked(name, addr string, role web.Role, build func(*node) error) (*slot, error) {
	p := &slot{name: name, role: role, build: build}
	var err error
	if p.host, p.tcp, err = net.SplitHostPort(addr); err != nil {
		return nil, fmt.Errorf("-%s: %q is no HOST:PORT", flagOf(name), addr)
	}
	p.udp, p.mediaTCP = p.tcp, "0"
	if c.options.public.IsValid() && p.host == "127.0.0.1" {
		p.host = ""
	}
	c.slots = append(c.slots, p)
	return p, c.startLocked(p)
}

func (c *cluster) startLocked(p *slot) error {
	n, err := c.listenLocked(p)
	if err != nil {
		return err
	}
	if err := p.build(n); err != nil {
		n.close()
		return fmt.Errorf("%s: %w", p.name, err)
	}
	n.admin, err = admin.New(admin.Config{Node: n.cdn, Origin: n.live, Relay: n.up, Server: n.server, Edge: n.edge})
	if err != nil {
		n.close()
		return fmt.Errorf("%s: %w", p.name, err)
	}
	n.mount("GET "+admin.Prefix+"/network", http.HandlerFunc(n.serveNetwork))
	n.serve(c.options.tls, c.failed)
	p.node = n
	return nil
}

// buildOrigin composes an origin that serves viewers and other nodes too.
func buildOrigin(n *node) (err error) {
	if n.live, err = origin.New(n.cdn, origin.Config{}); err != nil {
		return err
	}
	publishers, err := whip.New(n.live, whip.Config{Logger: n.cdn.Logger()})
	if err != nil {
		return err
	}
	n.mount("/whip/", publishers)
	if err := n.serveNodes(n.live); err != nil {
		return err
	}
	return n.serveViewers(n.live)
}

// buildRelay composes a node that fetches from entry and serves other nodes.
func (c *cluster) buildRelay(n *node, entry string) error {
	up, err := c.fetchFrom(n, entry)
	if err != nil {
		return err
	}
	return n.serveNodes(up)
}

// buildEdge composes a node that fetches from entries and serves viewers.
func (c *cluster) buildEdge(n *node, entries ...string) error {
	up, err := c.fetchFrom(n, entries...)
	if err != nil {
		return err
	}
	return n.serveViewers(up)
}

func (c *cluster) fetchFrom(n *node, entries ...string) (*relay.Relay, error) {
	by := &http.Client{Transport: n.faults}
	links, err := relay.NewLink(n.cdn, relay.LinkConfig{
		Dialer: &link.Client{HTTP: by}, Fallback: relay.NewWHEP(n.cdn, relay.WHEPConfig{Dialer: &whep.Client{HTTP: by}}),
	})
	if err != nil {
		return nil, err
	}
	n.up, err = relay.New(n.cdn, relay.Config{Directory: cdn.Static(entries...), Fetcher: links})
	return n.up, err
}

func (n *node) serveNodes(s cdn.Source) (err error) {
	if n.server, err = relay.NewServer(n.cdn, s); err != nil {
		return err
	}
	h, err := n.server.Handler()
	if err != nil {
		return err
	}
	n.mount(relay.Prefix, h)
	return nil
}

func (n *node) serveViewers(s cdn.Source) (err error) {
	if n.edge, err = edge.New(n.cdn, edge.Config{Source: s}); err != nil {
		return err
	}
	h, err := whep.New(n.edge, whep.Config{Logger: n.cdn.Logger()})
	if err != nil {
		return err
	}
	n.mount("/whep/", h)
	return nil
}

// newTransport returns what nodes call each other with. A certificate of one's
// own making is trusted because it was named.
func newTransport(files tlsFiles) (*http.Transport, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if files.cert != "" {
		pem, err := os.ReadFile(files.cert)
		if err != nil {
			return nil, fmt.Errorf("-tls-cert: %w", err)
		}
		pool, err := x509.SystemCertPool()
		if err != nil {
			return nil, err
		}
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate", files.cert)
		}
		if _, err := tls.LoadX509KeyPair(files.cert, files.key); err != nil {
			return nil, err
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	return transport, nil
}

// close ends the nodes, edges first.
func (c *cluster) close() {
	c.mu.Lock()
	c.closed = true
	var running []*node
	for _, p := range c.slots {
		if p.node != nil {
			running = append(running, p.node)
		}
	}
	c.mu.Unlock()
	for _, n := range slices.Backward(running) {
		n.close()
	}
	c.closing.Wait()
	c.client.CloseIdleConnections()
}

// announce prints where to look.
func (c *cluster) announce(w io.Writer, o options) {
	fmt.Fprintln(w, "Delta: a WebRTC CDN of", len(c.slots), "nodes in one process.")
	fmt.Fprintln(w)
	for _, p := range c.slots {
		fmt.Fprintf(w, "  %-7s %s/\n", p.name, p.url)
	}
	fmt.Fprintln(w)
	if o.demo {
		fmt.Fprintln(w, "A countdown is being published to the origin as stream \"demo\". Play it on both edges:")
		for _, p := range c.slots {
			if p.role == web.Edge {
				fmt.Fprintf(w, "  %s/play?stream=demo\n", p.url)
			}
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintln(w, "Publish your camera, your screen or a clock that shows the latency, and play that:")
	fmt.Fprintf(w, "  %s/publish?stream=live\n", c.slots[0].url)
	for _, p := range c.slots {
		if p.role == web.Edge {
			fmt.Fprintf(w, "  %s/play?stream=live\n", p.url)
		}
	}
	fmt.Fprintln(w)
	fmt.Fprintln(w, "Ctrl-C ends.")
}
