package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/examples/threenode/web"
	"github.com/deltacdn/delta/origin"
	"github.com/deltacdn/delta/relay"
	"github.com/deltacdn/delta/signal/link"
	"github.com/deltacdn/delta/signal/whep"
	"github.com/deltacdn/delta/signal/whip"
)

// cluster is the nodes, in the order in which they were started.
type cluster struct {
	origin *node
	nodes  []*node
	client *http.Client // trusts the nodes' certificate
	failed chan error   // a node's web server, later
}

// start brings the nodes up: the origin first, and each with those before it
// as its point of entry.
func start(o options, log *slog.Logger) (*cluster, error) {
	c := &cluster{failed: make(chan error, 4)}
	var err error
	if c.client, err = newClient(o.tls); err != nil {
		return nil, err
	}
	begin := func(name, addr string, role web.Role, build func(*node) error) (*node, error) {
		n, err := listen(name, addr, role, o, log)
		if err != nil {
			return nil, err
		}
		c.nodes = append(c.nodes, n)
		if err := build(n); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		n.serve(o.tls, c.failed)
		return n, nil
	}
	err = func() error {
		if c.origin, err = begin("origin", o.origin, web.Origin, buildOrigin); err != nil {
			return err
		}
		entry := c.origin.url
		if o.relay {
			r, err := begin("relay", o.relayAddr, web.Relay, func(n *node) error { return c.buildRelay(n, entry) })
			if err != nil {
				return err
			}
			entry = r.url
		}
		for _, e := range []struct{ name, addr string }{{"edge1", o.edge1}, {"edge2", o.edge2}} {
			if _, err := begin(e.name, e.addr, web.Edge, func(n *node) error { return c.buildEdge(n, entry) }); err != nil {
				return err
			}
		}
		return nil
	}()
	if err != nil {
		c.close()
		return nil, err
	}
	for _, n := range c.nodes {
		n.setPeers(c.nodes)
	}
	return c, nil
}

// buildOrigin composes an origin that serves viewers and other nodes too.
func buildOrigin(n *node) error {
	live, err := origin.New(n.cdn, origin.Config{})
	if err != nil {
		return err
	}
	publishers, err := whip.New(live, whip.Config{Logger: n.cdn.Logger()})
	if err != nil {
		return err
	}
	n.mount("/whip/", publishers)
	n.canPublish = true
	if err := n.serveNodes(live); err != nil {
		return err
	}
	return n.serveViewers(live)
}

// buildRelay composes a node that fetches from entry and serves other nodes.
func (c *cluster) buildRelay(n *node, entry string) error {
	up, err := c.fetchFrom(n, entry)
	if err != nil {
		return err
	}
	return n.serveNodes(up)
}

// buildEdge composes a node that fetches from entry and serves viewers.
func (c *cluster) buildEdge(n *node, entry string) error {
	up, err := c.fetchFrom(n, entry)
	if err != nil {
		return err
	}
	return n.serveViewers(up)
}

func (c *cluster) fetchFrom(n *node, entry string) (*relay.Relay, error) {
	links, err := relay.NewLink(n.cdn, relay.LinkConfig{Dialer: &link.Client{HTTP: c.client}})
	if err != nil {
		return nil, err
	}
	return relay.New(n.cdn, relay.Config{Directory: cdn.Static(entry), Fetcher: links})
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

// newClient returns the client that nodes call each other with. A certificate
// of one's own making is trusted because it was named.
func newClient(files tlsFiles) (*http.Client, error) {
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
	return &http.Client{Transport: transport}, nil
}

// close ends the nodes, edges first.
func (c *cluster) close() {
	for i := len(c.nodes) - 1; i >= 0; i-- {
		c.nodes[i].close()
	}
	c.client.CloseIdleConnections()
}

// announce prints where to look.
func (c *cluster) announce(w io.Writer, o options) {
	fmt.Fprintln(w, "Delta: a WebRTC CDN of", len(c.nodes), "nodes in one process.")
	fmt.Fprintln(w)
	for _, n := range c.nodes {
		fmt.Fprintf(w, "  %-7s %s/\n", n.name, n.url)
	}
	fmt.Fprintln(w)
	if o.demo {
		fmt.Fprintln(w, "A countdown is being published to the origin as stream \"demo\". Play it on both edges:")
		for _, n := range c.nodes {
			if n.role == web.Edge {
				fmt.Fprintf(w, "  %s/play?stream=demo\n", n.url)
			}
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintln(w, "Publish your camera, your screen or a clock that shows the latency, and play that:")
	fmt.Fprintf(w, "  %s/publish?stream=live\n", c.origin.url)
	for _, n := range c.nodes {
		if n.role == web.Edge {
			fmt.Fprintf(w, "  %s/play?stream=live\n", n.url)
		}
	}
	fmt.Fprintln(w)
	fmt.Fprintln(w, "Ctrl-C ends.")
}
