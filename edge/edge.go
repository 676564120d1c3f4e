// Package edge serves viewers. An [Edge] answers their offers (it is a
// [signal.Handler], for WHEP or any other signaling) with streams of a
// [cdn.Source]: an origin on the same node, a relay that fetches them, or
// both.
package edge

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/send"
	"github.com/deltacdn/delta/internal/slow"
	"github.com/deltacdn/delta/signal"
)

// Config sets up an [Edge].
type Config struct {
	// Source has the streams. Required.
	Source cdn.Source
	// Wait is how long a viewer may wait for a stream that is not there yet.
	// If zero, not at all: [cdn.ErrNotFound].
	Wait time.Duration
	// FetchTimeout bounds the time until a stream that exists is ready to be
	// answered with. If zero, 10 s.
	FetchTimeout time.Duration
	// CatchUp is how old the newest keyframe may be for a viewer to begin with
	// it and all that followed, and not to wait for the next. If zero, 500 ms.
	CatchUp time.Duration
	// Playout gives the playout-delay of a stream, which tells players how
	// long to hold frames back: 0 to 0 shows each at once, at the price of
	// smoothness. If nil, or where it returns nil, what the publisher says.
	Playout func(cdn.StreamID) *PlayoutDelay
	// PeerConnections: viewers are served by pion's PeerConnection, and not by
	// Delta's own sessions, which cost a fraction of the memory and time. It is
	// the reference in tests, and the way out should a client not get along.
	PeerConnections bool
	// SlowPatience is how long a viewer that cannot take even the least of a
	// stream is kept. If zero, 30 s.
	SlowPatience time.Duration
}

// PlayoutDelay bounds how long a player holds frames back, to the precision of
// 10 ms and up to 40.95 s.
type PlayoutDelay = send.PlayoutDelay

// An Edge serves viewers. Its methods may be called concurrently.
type Edge struct {
	node   *cdn.Node
	config Config

	mu      sync.Mutex
	viewers map[*viewer]struct{}
	closed  bool
	past    Stats          // of viewers that have left
	work    sync.WaitGroup // viewers

	warned atomic.Int64 // when shedding was last logged, Unix seconds
}

// New makes an Edge on node, which closes it when it is closed itself.
func New(node *cdn.Node, c Config) (*Edge, error) {
	if c.Source == nil {
		return nil, &cdn.Error{Op: "new edge", Err: fmt.Errorf("%w: no source", cdn.ErrInvalid)}
	}
	if c.FetchTimeout <= 0 {
		c.FetchTimeout = 10 * time.Second
	}
	e := &Edge{node: node, config: c, viewers: make(map[*viewer]struct{})}
	node.Own(e)
	return e, nil
}

// Offer starts a viewer's session. It returns when the stream's codecs are
// known and the answer is made.
func (e *Edge) Offer(ctx context.Context, o signal.Offer) (signal.Session, error) {
	id, err := cdn.ParseStreamID(string(o.Stream))
	if err != nil {
		return nil, &cdn.Error{Op: "play", Err: err}
	}
	grant, err := e.node.Authorize(ctx, cdn.AuthRequest{
		Action: cdn.ActionPlay, Stream: id, Credential: o.Credential, RemoteAddr: o.RemoteAddr,
	})
	if err != nil {
		return nil, err
	}
	release, err := e.node.Admit()
	if err != nil {
		return nil, err
	}
	sub, err := e.open(ctx, id)
	if err != nil {
		release()
		return nil, err
	}
	v := &viewer{edge: e, sub: sub, release: release, begun: time.Now(), name: rand.Text()[:8], told: make(chan struct{})}
	defer close(v.told)
	if err := v.start(ctx, o, grant); err != nil {
		return nil, err
	}
	e.node.Emit(cdn.SessionStarted{
		Stream: id, Action: cdn.ActionPlay, Session: v.name, Subject: grant.Subject, RemoteAddr: o.RemoteAddr,
	})
	return v, nil
}

// retryEvery is how often a stream that is waited for is asked for again.
const retryEvery = 250 * time.Millisecond

// open returns a stream that is ready, waiting for it as configured.
func (e *Edge) open(ctx context.Context, id cdn.StreamID) (*cdn.Subscription, error) {
	deadline := time.Now().Add(e.config.Wait)
	for {
		sub, err := e.openNow(ctx, id)
		if err == nil || !errors.Is(err, cdn.ErrNotFound) || !time.Now().Add(retryEvery).Before(deadline) {
			return sub, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(retryEvery):
		}
	}
}

func (e *Edge) openNow(ctx context.Context, id cdn.StreamID) (*cdn.Subscription, error) {
	ctx, cancel := context.WithTimeout(ctx, e.config.FetchTimeout)
	defer cancel()
	sub, err := e.config.Source.Open(ctx, cdn.Request{Stream: id})
	if err != nil {
		return nil, err
	}
	if err := sub.Stream().Ready(ctx); err != nil {
		sub.Close()
		return nil, &cdn.Error{Op: "play", Stream: id, Err: err}
	}
	return sub, nil
}

// Close ends all viewers' sessions and waits for them.
func (e *Edge) Close() error {
	e.mu.Lock()
	e.closed = true
	all := make([]*viewer, 0, len(e.viewers))
	for v := range e.viewers {
		all = append(all, v)
	}
	e.mu.Unlock()
	for _, v := range all {
		v.end(cdn.ErrClosed)
	}
	e.work.Wait()
	return nil
}

func (e *Edge) add(v *viewer) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return &cdn.Error{Op: "play", Err: cdn.ErrClosed}
	}
	e.viewers[v] = struct{}{}
	e.work.Add(1)
	return nil
}

func (e *Edge) remove(v *viewer) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.viewers, v)
	e.past.Packets += v.sent.Packets
	e.past.Bytes += v.sent.Bytes
	e.past.Resent += v.sent.Resent
	e.past.Shed += v.sent.Shed
	e.work.Done()
}

// shed logs, now and then, that there are more viewers than the machine can
// serve.
func (e *Edge) shed() {
	const every = 10
	now, last := time.Now().Unix(), e.warned.Load()
	if now-last >= every && e.warned.CompareAndSwap(last, now) {
		e.node.Logger().Warn("this node is behind: viewers lose video until the next keyframe")
	}
}

func (e *Edge) slowConfig() slow.Config { return slow.Config{Patience: e.config.SlowPatience} }
