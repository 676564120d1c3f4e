package admin

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/access"
	"github.com/deltacdn/delta/edge"
	"github.com/deltacdn/delta/origin"
	"github.com/deltacdn/delta/relay"
	"github.com/deltacdn/delta/signal"
)

// Config sets up an [API].
type Config struct {
	// Node is the node that the API belongs to. Required.
	Node *cdn.Node
	// Origin, Relay, Server and Edge are the services on the node. Each may be nil.
	Origin *origin.Origin
	Relay  *relay.Relay
	Server *relay.Server
	Edge   *edge.Edge
	// Access is the list that blocks and revocations are put into. It has to be the node's
	// Authorizer, or what that asks, and bound to the node ([access.List.Bind]). If nil,
	// this node takes no part in them.
	Access *access.List
	// Dialer carries offers of links to nodes that the node's Directory names and no link
	// leads to. If nil, HTTP.
	Dialer signal.LinkDialer
	// Version is that of the program, to be shown.
	Version string

	// Tokens are who may use the API by HTTP. If there are none, clients on this
	// machine may, and nobody else: see [API.ServeHTTP].
	Tokens []Token
	// Hosts are names, without a port, by which clients on this machine may ask for
	// the API besides localhost and loopback addresses. Only without Tokens.
	Hosts []string
	// Logger gets one line for each change, at level INFO. If nil, the node's.
	Logger *slog.Logger

	// Refresh is how old the reports of other nodes may be before they are asked
	// again. If zero, 1 s.
	Refresh time.Duration
	// Patience is how long a node that is asked may take to answer. If zero, 2 s.
	Patience time.Duration
	// Forget is how long a node that does not answer is listed as stale. If zero,
	// 1 minute.
	Forget time.Duration
}

// A Token lets a client use the API by HTTP, as a bearer token (RFC 6750).
type Token struct {
	// Name says who has the token, in the log. It is no secret. Required.
	Name string
	// Secret is the token: 16 bytes at least.
	Secret string
	// Write: the token may change things. Otherwise it may only look.
	Write bool
}

const leastSecret = 16

func (c Config) withDefaults() (Config, error) {
	if c.Node == nil {
		return c, fmt.Errorf("%w: no node", cdn.ErrInvalid)
	}
	for i, t := range c.Tokens {
		switch {
		case t.Name == "":
			return c, fmt.Errorf("%w: token %d has no name", cdn.ErrInvalid, i+1)
		case len(t.Secret) < leastSecret:
			return c, fmt.Errorf("%w: the token of %s is shorter than %d bytes", cdn.ErrInvalid, t.Name, leastSecret)
		}
	}
	if c.Logger == nil {
		c.Logger = c.Node.Logger()
	}
	for _, d := range []struct {
		v   *time.Duration
		def time.Duration
	}{{&c.Refresh, time.Second}, {&c.Patience, 2 * time.Second}, {&c.Forget, time.Minute}} {
		if *d.v <= 0 {
			*d.v = d.def
		}
	}
	return c, nil
}
