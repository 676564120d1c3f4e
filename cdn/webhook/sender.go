// Package webhook tells HTTP servers what happens at a node: who publishes, who plays,
// what ended and which viewer is slow. Requests are signed as Standard Webhooks says
// (https://www.standardwebhooks.com), so that a receiver knows the caller.
// docs/webhooks.md lists the messages.
//
//	hooks, err := webhook.New(webhook.Config{Node: "edge-1", Endpoints: …})
//	node, err := cdn.Listen(cdn.Config{ID: "edge-1", OnEvent: hooks.Event, …})
//	…
//	node.Close()
//	hooks.Close(ctx) // sends what is left
package webhook

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/internal/outbound"
)

// Config sets up a [Sender]. It must not be changed after it was passed.
type Config struct {
	Node      cdn.NodeID // named in every message
	Endpoints []Endpoint
	// Queue is how many messages wait for each endpoint. What is beyond is dropped,
	// and the next message that comes says how many were. If zero, 10,000.
	Queue int
	// Concurrency is how many requests are made of an endpoint at a time, each about
	// another stream. If zero, 8.
	Concurrency int
	// Timeout bounds one request. If zero, 10 s.
	Timeout time.Duration
	// GiveUp is for how long a message is sent again. If zero, 24 h.
	GiveUp time.Duration
	// AllowPlain allows http to other machines. Whoever is on the way can read the
	// messages then.
	AllowPlain bool
	// Transport makes the requests. If nil, one of its own.
	Transport http.RoundTripper
	// Logger gets what an operator should know. If nil, nothing is logged.
	Logger *slog.Logger
}

// An Endpoint is a receiver of messages.
type Endpoint struct {
	// URL gets a POST for each message. It must be https, or http on this machine.
	// Redirects are not followed.
	URL string
	// Secrets sign the requests, all of them. Each is "whsec_" and base64 of 24 to 64
	// bytes. There must be one at least.
	Secrets []string
	// Events are the types that it gets. If empty, all.
	Events []Type
}

// A Sender sends messages. Those about one stream reach an endpoint in the order in
// which they happened. A message is sent again until the endpoint answers with a status
// of 2xx: after 1 s, 2 s, 4 s and so on up to 5 min, or up to half earlier by chance, or
// when Retry-After says. 410 ends all for the endpoint until the Sender is made anew. A
// message is given up when it has been refused five times with another status of 4xx
// than 408, 425 and 429. Its methods may be called concurrently. It must be closed.
type Sender struct {
	node      cdn.NodeID
	endpoints []*endpoint
	client    *outbound.Client
	cancel    context.CancelFunc
	running   sync.WaitGroup
}

// New makes a Sender, and makes no request. Errors wrap [cdn.ErrInvalid], and hold no
// secrets.
func New(c Config) (*Sender, error) {
	setDefault(&c.Queue, 10_000)
	setDefault(&c.Concurrency, 8)
	setDefault(&c.Timeout, 10*time.Second)
	setDefault(&c.GiveUp, 24*time.Hour)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Sender{node: c.Node, client: outbound.NewClient(c.Concurrency, c.Transport)}
	for i, at := range c.Endpoints {
		e, err := newEndpoint(c, s.client, at)
		if err != nil {
			return nil, &cdn.Error{Op: "webhook", Err: fmt.Errorf("%w: endpoint %d: %w", cdn.ErrInvalid, i+1, err)}
		}
		s.endpoints = append(s.endpoints, e)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	for _, e := range s.endpoints {
		s.running.Go(func() { e.run(ctx) })
	}
	return s, nil
}

func setDefault[T ~int | ~int64](v *T, def T) {
	if *v <= 0 {
		*v = def
	}
}

func newEndpoint(c Config, client *outbound.Client, at Endpoint) (*endpoint, error) {
	u, err := outbound.CheckURL(at.URL, c.AllowPlain)
	if err != nil {
		return nil, fmt.Errorf("its URL: %w", err)
	}
	if len(at.Secrets) == 0 {
		return nil, errors.New("it has no secret")
	}
	e := &endpoint{
		url: u, name: outbound.Name(u), types: at.Events, client: client, log: c.Logger,
		limit: c.Queue, concurrency: c.Concurrency, timeout: c.Timeout, giveUp: c.GiveUp,
		wake: make(chan struct{}, 1), lanes: make(map[cdn.StreamID]*lane),
	}
	for _, secret := range at.Secrets {
		key, err := ParseKey(secret)
		if err != nil {
			return nil, err
		}
		e.keys = append(e.keys, key)
	}
	for _, t := range at.Events {
		if !slices.Contains(Types, t) {
			return nil, fmt.Errorf("there is no event %.40q; there are %q", t, Types)
		}
	}
	return e, nil
}

// Event tells the endpoints of an event. It never blocks: it is made to be
// [cdn.Config].OnEvent, or to be called by it. After Close it does nothing.
func (s *Sender) Event(e cdn.Event) {
	m, ok := messageOf(e)
	if !ok {
		return
	}
	m.Timestamp, m.Node = time.Now().UTC(), s.node
	for _, e := range s.endpoints {
		e.add(m)
	}
}

// Close takes no more events, sends what waits until ctx is done, and waits for
// everything to end. It returns an error that wraps the cause of ctx if messages were
// lost. Further calls wait as well.
func (s *Sender) Close(ctx context.Context) error {
	for _, e := range s.endpoints {
		e.close()
	}
	for _, e := range s.endpoints {
		select {
		case <-e.empty:
		case <-ctx.Done():
		}
	}
	s.cancel()
	s.running.Wait()
	s.client.Close()
	lost := 0
	for _, e := range s.endpoints {
		lost += e.abandon()
	}
	if lost > 0 {
		return fmt.Errorf("webhook: %d messages were not sent: %w", lost, context.Cause(ctx))
	}
	return nil
}

// EndpointStats describe an endpoint.
type EndpointStats struct {
	Endpoint  string // scheme and host of its URL
	Waiting   int    // messages that are not sent yet
	Delivered uint64 // messages that it has taken
	Failed    uint64 // requests that it has not
	Dropped   uint64 // messages that were given up, or found no room
	Disabled  bool   // it answered 410
}

// Stats describes the endpoints, in the order of the configuration.
func (s *Sender) Stats() []EndpointStats {
	all := make([]EndpointStats, len(s.endpoints))
	for i, e := range s.endpoints {
		all[i] = e.stats()
	}
	return all
}
