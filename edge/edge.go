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
	// AnswerAfter is how long the answer to a viewer is held back while the
	// stream is being fetched: one that turns out not to be there is refused by
	// then, and one that is there is answered with what it has. After that the
	// viewer is answered with all that could be, so that it connects meanwhile,
	// and a failure ends its session. Such an answer has the format parameters
	// of the offer, not the published ones: parameter sets have to be in the
	// media, as browsers send them. If zero, 30 ms; if negative, an answer does
	// not wait. With FetchTimeout and Wait together, it always does.
	AnswerAfter time.Duration
	// FetchTimeout bounds the time until a stream that exists is ready to be
	// sent. If zero, 10 s.
	FetchTimeout time.Duration
	// Start says with what viewers of a stream begin. If nil, or where it
	// returns the zero Start, they catch up.
	Start func(cdn.StreamID) Start
	// Playout gives the playout-delay of a stream, which tells players how
	// long to hold frames back: 0 to 0 shows each at once, at the price of
	// smoothness. If nil, or where it returns nil, what the publisher says.
	Playout func(cdn.StreamID) *PlayoutDelay
	// PeerConnections: viewers are served by pion's PeerConnection, and not by
	// Delta's own sessions, which cost a fraction of the memory and time. It is
	// the reference in tests, and the way out should a client not get along.
	PeerConnections bool
	// SlowPatience is how many seconds of overload a session outlives. A second
	// counts while the viewer's receiver reports say that half of the sound or more
	// is lost (of a stream without sound: of the video), and each good second takes
	// one off again. Then the session ends with [cdn.ErrTooSlow], which the viewer
	// is told. Nothing else ends a session for slowness. If zero, 30 s.
	SlowPatience time.Duration
}

// PlayoutDelay bounds how long a player holds frames back, to the precision of
// 10 ms and up to 40.95 s.
type PlayoutDelay = send.PlayoutDelay

// An Edge serves viewers. Its methods may be called concurrently.
type Edge struct {
	node   *cdn.Node
	config Config
	watch  endpoint.Watch // over sessions of Delta's own

	mu      sync.Mutex
	viewers map[*viewer]struct{}
	count   map[cdn.StreamID]int // viewers of each stream
	closed  bool
	past    Stats                     // of viewers that have left
	patient map[cdn.StreamID]struct{} // streams that viewers are not answered before; nil: none
	work    sync.WaitGroup            // viewers

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
	e := &Edge{node: node, config: c, viewers: make(map[*viewer]struct{}), count: make(map[cdn.StreamID]int)}
	node.Own(e)
	return e, nil
}

// Offer starts a viewer's session. It returns when the answer is made: with the
// stream's tracks if they are known soon enough ([Config].AnswerAfter), and
// otherwise without. Then the session ends by itself, with the error that Offer
// would have failed with, if the stream cannot be had, the viewer can take none
// of its codecs ([cdn.ErrNoCommonCodec]), or the layer that was asked for is not
// there; and with [cdn.ErrTimeout] if the viewer was promised video and there is
// none, since browsers then play no sound. She should come again, and gets sound
// alone. An offer that only a PeerConnection can answer waits for the stream.
func (e *Edge) Offer(ctx context.Context, o signal.Offer) (signal.Session, error) {
	id, err := cdn.ParseStreamID(string(o.Stream))
	if err != nil {
		return nil, &cdn.Error{Op: "play", Err: err}
	}
	a, err := e.node.Authorize(ctx, cdn.AuthRequest{
		Action: cdn.ActionPlay, Stream: id, Credential: o.Credential, RemoteAddr: o.RemoteAddr,
	})
	if err != nil {
		return nil, err
	}
	making, err := a.Enter(ctx)
	if err != nil {
		return nil, err
	}
	v := &viewer{edge: e, id: id, opening: e.open(id), admission: a, made: make(chan struct{})}
	defer close(v.made)
	if err := v.start(making, o); err != nil {
		a.Leave(err)
		e.warnOfCodecs(id, err)
		return nil, err
	}
	a.Start(v.transport.End)
	if v.late == nil {
		v.tellMismatches()
	}
	return v, nil
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

func (e *Edge) add(v *viewer, cancel func(error)) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return &cdn.Error{Op: "play", Err: cdn.ErrClosed}
	}
	v.cancel = cancel
	e.viewers[v] = struct{}{}
	e.count[v.id]++
	e.work.Add(1)
	return nil
}

func (e *Edge) remove(v *viewer) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.viewers, v)
	if e.count[v.id]--; e.count[v.id] == 0 {
		delete(e.count, v.id)
	}
	e.past.Packets += v.sent.Packets
	e.past.Bytes += v.sent.Bytes
	e.past.Resent += v.sent.Resent
	e.past.Shed += v.sent.Shed
	e.work.Done()
}

// maxPatient bounds the streams that are remembered to be waited for.
const maxPatient = 1000

// wait remembers that a stream is to be waited for: it has no video, though its
// viewers could take some. The first of them have to come again; with that, even
// where nothing of the stream is kept for them, it is once.
func (e *Edge) wait(id cdn.StreamID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.patient == nil || len(e.patient) >= maxPatient {
		e.patient = make(map[cdn.StreamID]struct{})
	}
	e.patient[id] = struct{}{}
}

// answerBy returns until when the answer to a viewer is held back; zero: for as
// long as it takes.
func (e *Edge) answerBy(id cdn.StreamID) time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, ok := e.patient[id]; ok {
		return time.Time{}
	}
	return time.Now().Add(max(e.config.AnswerAfter, 0))
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
