// Package webtest runs, in the process of a test, a network of nodes that have pages, and
// looks at what a browser shows of them.
package webtest

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/admin"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/internal/demo"
	"github.com/deltacdn/delta/internal/demo/console"
	"github.com/deltacdn/delta/internal/demo/web"
	"github.com/deltacdn/delta/origin"
	"github.com/deltacdn/delta/relay"
	"github.com/deltacdn/delta/signal/whep"
	"github.com/deltacdn/delta/signal/whip"
)

// A Network is nodes that find each other by a directory. Each has a web server of its
// own, with the pages. They end with the test.
type Network struct {
	// Addr is where nodes take media.
	Addr string
	// Token is what viewers have to show. Empty: nothing.
	Token string
	// Operator is the token for which the console shows the network. Empty: none is needed.
	Operator string
	// ICEServers are told to clients, as in [whip.Config].
	ICEServers []string

	t      testing.TB
	dir    *cdn.Memory
	secret string

	mu       sync.Mutex
	requests []string
}

// Requests returns the URLs that the nodes were asked for.
func (n *Network) Requests() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.requests)
}

// log notes the URLs of requests before next answers them.
func (n *Network) log(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n.mu.Lock()
		n.requests = append(n.requests, r.URL.String())
		n.mu.Unlock()
		next.ServeHTTP(w, r)
	})
}

// New returns a network without nodes, which are going to take media at addr.
func New(t testing.TB, addr string) *Network {
	return &Network{t: t, Addr: addr, dir: cdn.NewMemory(), secret: "known to the nodes of " + t.Name()}
}

// Authorize implements [cdn.Authorizer].
func (n *Network) Authorize(_ context.Context, r cdn.AuthRequest) (cdn.Grant, error) {
	if r.Action == cdn.ActionPlay && r.Credential != n.Token {
		return cdn.Grant{}, cdn.ErrUnauthorized
	}
	return cdn.Grant{}, nil
}

// A Node is one of the nodes.
type Node struct {
	*cdn.Node
	URL  string
	Edge *edge.Edge     // nil: it serves no viewers
	Live *origin.Origin // nil: it takes no publishers
	// Refuse is how many more offers of viewers are refused.
	Refuse atomic.Int32

	server server
	known  console.Node // what its services are, for the pages
}

// A server is what answers HTTP for a node.
type server struct {
	*httptest.Server
	mux *http.ServeMux
}

// Stop has the node vanish for those who ask it by HTTP.
func (n *Node) Stop() {
	n.server.CloseClientConnections()
	n.server.Close()
}

// Viewers returns how many viewers a stream has at the node.
func (n *Node) Viewers(id cdn.StreamID) int { return n.Edge.Stats().Viewers[id] }

func (n *Network) check(err error) {
	n.t.Helper()
	if err != nil {
		n.t.Fatal(err)
	}
}

// node starts a node with a web server, which stops before the node does.
func (n *Network) node(name string) *Node {
	mux := http.NewServeMux()
	node := &Node{server: server{httptest.NewServer(n.log(mux)), mux}}
	node.URL = node.server.URL
	var err error
	node.Node, err = cdn.Listen(cdn.Config{
		ID: cdn.NodeID(name), Addr: n.Addr, URL: node.URL, Directory: n.dir, Trust: cdn.Trust{Secret: n.secret},
		Authorizer: n,
	})
	n.check(err)
	n.t.Cleanup(func() {
		if err := node.Close(); err != nil {
			n.t.Error(err)
		}
		node.Stop() // event streams, too
	})
	node.server.mux.Handle("/", web.Handler(func() web.Status {
		known := node.known
		known.CDN, known.Name, known.URL, known.Edge, known.Network = node.Node, name, node.URL, node.Edge, web.Operators
		status := known.Status()
		status.Siblings = n.siblings()
		return status
	}))
	return node
}

// tell has a node tell of the network, and others of it.
func (n *Network) tell(node *Node, c admin.Config) {
	c.Node, c.Edge = node.Node, node.Edge
	if n.Operator != "" {
		c.Tokens = []admin.Token{{Name: "operator", Secret: n.Operator}}
	}
	api, err := admin.New(c)
	n.check(err)
	node.server.mux.Handle(admin.Prefix+"/", api)
}

// siblings returns the URLs of the nodes that serve viewers.
func (n *Network) siblings() (all []string) {
	nodes, err := n.dir.Nodes(context.Background())
	if err != nil {
		n.t.Error(err)
	}
	for _, e := range nodes {
		if e.Roles.Has(cdn.RoleEdge) {
			all = append(all, e.URL)
		}
	}
	return all
}

// Origin starts a node that takes publishers and serves other nodes.
func (n *Network) Origin(name string) *Node {
	node := n.node(name)
	live, err := origin.New(node.Node, origin.Config{})
	n.check(err)
	node.Live = live
	publishers, err := whip.New(live, whip.Config{ICEServers: n.ICEServers})
	n.check(err)
	node.server.mux.Handle("/whip/", publishers)
	server, err := relay.NewServer(node.Node, live)
	n.check(err)
	nodes, err := server.Handler()
	n.check(err)
	node.server.mux.Handle(relay.Prefix, nodes)
	node.known = console.Node{Role: web.Origin, CanPublish: true, Server: server}
	n.tell(node, admin.Config{Origin: live, Server: server})
	return node
}

// Viewing starts a node that serves viewers with what others have, and sends them to its
// siblings when it is full or leaves.
func (n *Network) Viewing(name string) *Node {
	node := n.node(name)
	up, err := relay.New(node.Node, relay.Config{Directory: n.dir})
	n.check(err)
	steerer, err := edge.Siblings(node.Node, n.dir)
	n.check(err)
	node.Edge, err = edge.New(node.Node, edge.Config{Source: up, Steerer: steerer})
	n.check(err)
	viewers, err := whep.New(node.Edge, whep.Config{ICEServers: n.ICEServers})
	n.check(err)
	n.t.Cleanup(func() {
		if err := viewers.Close(); err != nil {
			n.t.Error(err)
		}
	})
	node.server.mux.HandleFunc("/whep/", func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && r.Header.Get("Content-Type") == "application/sdp" && node.Refuse.Add(-1) >= 0 {
			w.Header().Set("Access-Control-Allow-Origin", "*")
			http.Error(w, "not now", http.StatusServiceUnavailable)
			return
		}
		viewers.ServeHTTP(w, r)
	})
	node.known = console.Node{Role: web.Edge, Up: up}
	n.tell(node, admin.Config{Relay: up})
	return node
}

// Publish has the countdown clip published at a node until the test ends.
func (n *Network) Publish(at *Node, id cdn.StreamID) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- demo.Publish(ctx, demo.Config{URL: at.URL + "/whip/" + string(id), Dialer: &whip.Client{}})
	}()
	n.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			n.t.Error(err)
		}
	})
}
