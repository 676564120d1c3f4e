package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/access"
	api "github.com/deltacdn/delta/cdn/admin"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/examples/deltanode/config"
	"github.com/deltacdn/delta/origin"
	"github.com/deltacdn/delta/relay"
)

// node is the node with its web servers.
type node struct {
	config    config.Config
	url       string
	log       *slog.Logger
	level     *slog.LevelVar
	node      *cdn.Node
	directory directory
	access    *access.List
	closers   []io.Closer // of who decides
	demoToken string      // with which the built-in clip is published
	seen      seen
	live      *origin.Origin // nil: it is no origin
	up        *relay.Relay   // nil: it fetches nothing
	server    *relay.Server  // nil: it serves no nodes
	view      *edge.Edge     // nil: it serves no viewers

	peers  *peers
	site   *site
	api    *api.API
	admin  *admin
	failed chan error
	closed context.Context // ends with close
	cancel context.CancelFunc
	work   sync.WaitGroup
}

// start brings the node up. What fails leaves nothing behind.
func start(c config.Config, log *slog.Logger, level *slog.LevelVar) (_ *node, err error) {
	n := &node{config: c, log: log, level: level, failed: make(chan error, 3)}
	n.closed, n.cancel = context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			n.close()
		}
	}()
	for _, step := range []func() error{n.openWeb, n.openDirectory, n.openSeen, n.openAuth, n.listen, n.compose, n.openAPI, n.openAdmin} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	n.site.serve(n.failed)
	n.admin.serve(n.failed)
	if c.Node.Demo {
		n.work.Go(n.publishDemo)
	}
	return n, nil
}

// listen opens the node's UDP port.
func (n *node) listen() error {
	c := &n.config
	udp, public, err := n.mediaAddresses()
	if err != nil {
		return err
	}
	n.node, err = cdn.Listen(cdn.Config{
		ID: cdn.NodeID(c.Node.Name), Addr: udp, TCPAddr: c.Media.TCP, PublicIPs: public, URL: n.url,
		Directory: n.directory.announces(), Group: c.Node.Group,
		Trust:  cdn.Trust{Secret: c.Network.Secret},
		Limits: c.Limits, Capacity: cdn.Capacity{Packets: c.Node.Capacity},
		Authorizer: n.access, Tracer: n.seen.tracer, OnEvent: n.seen.event, Logger: n.log,
	})
	if err != nil {
		return fmt.Errorf("%s: %w", n.whereMedia(err), err)
	}
	n.access.Bind(n.node)
	return n.resolvePublic()
}

// whereMedia names the setting that a port for media could not be opened for.
func (n *node) whereMedia(err error) string {
	var op *net.OpError
	if errors.As(err, &op) && op.Net == "tcp" {
		return n.config.Where("tcp")
	}
	return n.config.Where("udp")
}

// drain has the node leave, and closes the channel that it returns when nobody is left:
// after -drain at the latest, when those who are still there have been sent away.
func (n *node) drain() <-chan struct{} {
	ctx, cancel := context.WithTimeout(n.closed, n.config.Node.Drain)
	left := make(chan struct{})
	n.work.Go(func() {
		defer cancel()
		defer close(left)
		for errors.Is(n.node.Drain(ctx), cdn.ErrSuperseded) { // by an operator, who does not know that the node stops
			continue
		}
	})
	return left
}

// close ends the node: viewers and other nodes are told first.
func (n *node) close() {
	n.cancel()
	if n.node != nil {
		_ = n.node.Close()
	}
	n.site.close()
	n.admin.close()
	n.work.Wait()
	n.peers.close()
	n.directory.close()
	for _, c := range n.closers {
		_ = c.Close()
	}
	n.seen.close()
}

// shutdown ends a server whose clients have a second to hear the end of their answers.
func shutdown(s *http.Server) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if s.Shutdown(ctx) != nil {
		_ = s.Close()
	}
}

// serveHTTP runs a server, and tells why it ended if nobody wanted that.
func serveHTTP(what string, serve func(net.Listener) error, l net.Listener, failed chan<- error) {
	if err := serve(l); !errors.Is(err, http.ErrServerClosed) {
		failed <- fmt.Errorf("%s: %w", what, err)
	}
}
