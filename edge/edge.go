// Package edge serves viewers. An [Edge] answers their offers (it is a
// [signal.Handler], for WHEP or any other signaling) with streams of a
// [cdn.Source]: an origin, a relay that fetches them, or both, on the same node or
// on another node of the process. It sends audio and video. Data channels that a
// viewer offers are declined.
package edge

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/endpoint"
	"github.com/deltacdn/delta/internal/send"
	"github.com/deltacdn/delta/signal"
)

// Config sets up an [Edge].
type Config struct {
	// Source has the streams. Required.
	Source cdn.Source
	// Wait is how long a viewer may wait for a stream that nobody publishes yet. If zero,
	// not at all: [cdn.ErrNotFound].
	Wait time.Duration
	// AnswerAfter is how long the answer to a viewer is held back while its stream is
	// fetched. If the fetch fails by then, the viewer is refused; if it succeeds, the
	// answer describes the stream's tracks. After that the viewer is answered with
	// everything that a stream could have, so that it connects meanwhile, and a failure
	// ends its session. Such an answer has the format parameters of the offer, not the
	// published ones. If zero, 30 ms; if negative, an answer does not wait. To have answers
	// always wait, set it to FetchTimeout and Wait together.
	AnswerAfter time.Duration
	// FetchTimeout bounds the time until the tracks of a stream are known. If zero, 10 s.
	FetchTimeout time.Duration
	// Start returns how viewers of a stream begin. If nil, or where it returns the zero
	// Start, they catch up.
	Start func(cdn.StreamID) Start
	// Playout returns the playout delay of a stream, by which players bound how long they
	// hold frames back: 0 to 0 shows each at once, at the price of smoothness. If nil, or
	// where it returns nil, players get the publisher's.
	Playout func(cdn.StreamID) *PlayoutDelay
	// PeerConnections has viewers served by pion's PeerConnection instead of Delta's own
	// sessions, which take a fraction of its memory and time. It is the reference in tests,
	// and the way out if a client cannot connect to the other.
	PeerConnections bool
	// Steerer says which node is to serve a viewer instead of this one. If nil, viewers for
	// whom there is no room are refused, and none is sent elsewhere. See [Siblings].
	Steerer Steerer
	// SlowPatience is how much overload a session outlives. A second counts while the
	// viewer's receiver reports say that half of the audio or more is lost (of a stream
	// without audio: of the video), and each good second takes one off again. Then the
	// session ends with [cdn.ErrTooSlow], which the viewer is told. Nothing else ends a
	// session for slowness. If zero, 30 s.
	SlowPatience time.Duration
	// Adapt returns how the video of a stream's viewers is fitted to what their paths
	// carry, and bounds what they ask for. If nil, or where it returns the zero Adapt,
	// viewers that ask for nothing begin with the best layer.
	//
	// Start, Playout and Adapt may be called concurrently, once for each offer, also for one
	// that is refused then. They must not block. If one panics, that is logged, and counts as
	// nil for the viewer.
	Adapt func(cdn.StreamID) Adapt
}

// An Edge serves viewers. Its methods may be called concurrently.
type Edge struct {
	node   *cdn.Node
	config Config
	watch  endpoint.Watch // over sessions of Delta's own

	mu        sync.Mutex
	viewers   map[*playSession]struct{}
	count     map[cdn.StreamID]int // viewers of each stream
	closed    bool
	past      Stats                     // of viewers that have left
	leading   context.CancelFunc        // ends the sending of viewers elsewhere; nil: it does not run
	audioOnly map[cdn.StreamID]struct{} // streams without video; nil: none
	work      sync.WaitGroup            // viewers

	steered steerCounters

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
	if c.AnswerAfter == 0 {
		c.AnswerAfter = 30 * time.Millisecond
	}
	e := &Edge{node: node, config: c, viewers: make(map[*playSession]struct{}), count: make(map[cdn.StreamID]int)}
	node.Serve(cdn.RoleEdge)
	node.Own(e)
	return e, nil
}

// Offer starts a viewer's session. It returns when the answer is made. The answer describes
// the stream's tracks if they are known soon enough ([Config].AnswerAfter). If they are
// not, the session ends by itself with the error that Offer would have failed with, where
// the stream cannot be fetched, the viewer supports none of its codecs
// ([cdn.ErrNoCommonCodec]) or it does not have the requested layer ([cdn.ErrNotFound]).
// Such a session ends with [cdn.ErrTimeout] if the answer promised video and the stream has
// none, since browsers then play no audio: the viewer should offer again, and gets audio
// alone. An offer that only a PeerConnection can answer waits for the stream.
func (e *Edge) Offer(ctx context.Context, o signal.Offer) (signal.Session, error) {
	id, err := cdn.ParseStreamID(string(o.Stream))
	if err != nil {
		return nil, &cdn.Error{Op: "play", Err: err}
	}
	if err := checkAdapt(o.Adapt); err != nil {
		return nil, &cdn.Error{Op: "play", Stream: id, Err: err}
	}
	b := e.begin(ctx, id)
	offering, span := e.node.Trace(b.ctx, spanOffer)
	v, err := e.offer(b.with(ctx, offering), b, id, o)
	span.End(err)
	if err != nil {
		b.over(err)
		return nil, err
	}
	return v, nil
}

// offer is Offer of a stream whose name is good.
func (e *Edge) offer(ctx context.Context, b *beginning, id cdn.StreamID, o signal.Offer) (*answered, error) {
	a, err := e.node.Authorize(ctx, cdn.AuthRequest{
		Action: cdn.ActionPlay, Stream: id, Credential: o.Credential, Query: o.Query, RemoteAddr: o.RemoteAddr,
	})
	if err != nil {
		return nil, err
	}
	visit := Visit{Stream: id, RemoteAddr: o.RemoteAddr}
	making, err := a.Enter(ctx)
	if err != nil {
		return nil, e.refused(ctx, visit, err)
	}
	if err := e.elsewhere(making, visit, nil); err != nil {
		a.Leave(err)
		return nil, err
	}
	v := &playSession{edge: e, id: id, opening: e.open(id, b), beginning: b, admission: a}
	v.bound.Store(int64(o.Adapt.MaxBitrate))
	v.ctx, v.cancel = context.WithCancelCause(b.detached())
	if err := v.serve(making, o); err != nil {
		v.giveUp(err)
		a.Leave(err)
		e.warnOfCodecs(id, err)
		return nil, err
	}
	return &answered{v.transport, v}, nil
}

// Close ends all viewers' sessions and waits for them.
func (e *Edge) Close() error {
	e.mu.Lock()
	e.closed = true
	e.stopLeadingLocked()
	all := make([]*playSession, 0, len(e.viewers))
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

func (e *Edge) add(v *playSession) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return &cdn.Error{Op: "play", Err: cdn.ErrClosed}
	}
	e.viewers[v] = struct{}{}
	e.count[v.id]++
	e.work.Add(1)
	return nil
}

// remove forgets a viewer that was sent so much.
func (e *Edge) remove(v *playSession, sent send.Stats) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.viewers, v)
	if e.count[v.id]--; e.count[v.id] == 0 {
		delete(e.count, v.id)
	}
	e.past.Packets += sent.Packets
	e.past.Bytes += sent.Bytes
	e.past.Resent += sent.Resent
	e.past.Shed += sent.Shed
	e.work.Done()
}

// maxAudioOnly bounds the streams that are remembered to have no video.
const maxAudioOnly = 1000

// noteAudioOnly remembers that a stream has no video. Its viewers are answered only once it
// is ready: the first of them have been promised video, and have to offer again.
func (e *Edge) noteAudioOnly(id cdn.StreamID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.audioOnly == nil || len(e.audioOnly) >= maxAudioOnly {
		e.audioOnly = make(map[cdn.StreamID]struct{})
	}
	e.audioOnly[id] = struct{}{}
}

// answerBy returns until when the answer to a viewer is held back; zero: until the stream
// is ready.
func (e *Edge) answerBy(id cdn.StreamID) time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, ok := e.audioOnly[id]; ok {
		return time.Time{}
	}
	return time.Now().Add(max(e.config.AnswerAfter, 0))
}

// shed logs at most every 10 s that there are more viewers than the machine can serve.
func (e *Edge) shed() {
	e.node.Internal().Behind()
	const every = 10
	now, last := time.Now().Unix(), e.warned.Load()
	if now-last >= every && e.warned.CompareAndSwap(last, now) {
		e.node.Logger().Warn("this node is behind: viewers lose video until the next keyframe")
	}
}
