// Package origin accepts publishers. An [Origin] answers their offers (it is a
// [signal.Handler], for WHIP or any other signaling) and is a [cdn.Source] of
// what they send, for edges on the same node and for other nodes.
package origin

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/endpoint"
	"github.com/deltacdn/delta/internal/negotiate"
	"github.com/deltacdn/delta/internal/pcrecv"
	"github.com/deltacdn/delta/internal/receive"
	"github.com/deltacdn/delta/signal"
)

// Takeover says what happens when a stream that has a publisher gets another.
type Takeover int

// The ways.
const (
	// TakeoverSameSubject lets a publisher take over from one with the same
	// subject ([cdn.Grant]), as one that reconnects does; others, and those
	// without a subject, are refused with [cdn.ErrAlreadyPublishing].
	TakeoverSameSubject Takeover = iota
	// TakeoverNever refuses all.
	TakeoverNever
	// TakeoverAlways lets anybody who may publish take over.
	TakeoverAlways
)

// Config sets up an [Origin]. The zero value accepts whatever is published.
type Config struct {
	// Takeover says what a second publisher of a stream may do.
	Takeover Takeover
	// Grace is how long a stream waits for its publisher to come back when it
	// was lost without a word; viewers stay. If zero, 5 s; if negative, not at
	// all. A publisher that says goodbye (WHIP DELETE) ends the stream at once.
	Grace time.Duration
	// Codecs are the MIME types that may be published, such as "video/H264".
	// If empty, all.
	Codecs []string
	// Choose decides which codec is taken for a track for which the publisher
	// offers several. It gets those that Codecs allows, in the publisher's order,
	// at least one, and returns an index into them; or a negative number if none
	// is to be taken, and then the track is left out. It is called concurrently,
	// and should be quick. If nil, [PreferredCodec].
	Choose func(stream cdn.StreamID, kind cdn.Kind, offered []cdn.Codec) int
	// PeerConnections: publishers are received by pion's PeerConnection, and not by
	// Delta's own sessions, which cost a fraction of the memory and time. It is the
	// reference in tests, and the way out should a client not get along. Where
	// [cdn.Config].Tune is set, it is always so.
	PeerConnections bool
}

// An Origin accepts publishers. Its methods may be called concurrently.
type Origin struct {
	node   *cdn.Node
	config Config

	watch endpoint.Watch // over sessions of Delta's own
	clock receive.Clock

	mu       sync.Mutex
	streams  map[cdn.StreamID]*published
	sessions map[*session]struct{} // of Delta's own
	changed  chan struct{}         // closed when a stream has come
	past     receive.Stats         // of sessions that are over
	closed   bool
}

// New makes an Origin on node, which closes it when it is closed itself.
func New(node *cdn.Node, c Config) (*Origin, error) {
	if c.Grace == 0 {
		c.Grace = 5 * time.Second
	}
	for _, mime := range c.Codecs {
		if !strings.Contains(mime, "/") {
			return nil, &cdn.Error{Op: "new origin", Err: fmt.Errorf("%w: codec %q is no MIME type", cdn.ErrInvalid, mime)}
		}
	}
	o := &Origin{node: node, config: c, streams: make(map[cdn.StreamID]*published), sessions: make(map[*session]struct{}), changed: make(chan struct{})}
	node.Own(o)
	return o, nil
}

// Offer starts a publisher's session.
func (o *Origin) Offer(ctx context.Context, offer signal.Offer) (signal.Session, error) {
	id, err := cdn.ParseStreamID(string(offer.Stream))
	if err != nil {
		return nil, &cdn.Error{Op: "publish", Err: err}
	}
	a, err := o.node.Authorize(ctx, cdn.AuthRequest{
		Action: cdn.ActionPublish, Stream: id, Credential: offer.Credential, RemoteAddr: offer.RemoteAddr,
	})
	if err != nil {
		return nil, err
	}
	if offer.Publication != "" {
		if _, err := cdn.ParseNodeID(offer.Publication); err != nil {
			return nil, &cdn.Error{Op: "publish", Stream: id, Err: fmt.Errorf("%w: publication %.40q", cdn.ErrInvalid, offer.Publication)}
		}
	}
	plan, err := receive.Accept(offer.SDP, o.chooser(id))
	if err != nil {
		return nil, &cdn.Error{Op: "publish", Stream: id, Err: err}
	}
	if err := receive.Check(plan); errors.Is(err, cdn.ErrInvalid) { // ahead of touching a stream that lives
		return nil, &cdn.Error{Op: "publish", Stream: id, Err: err}
	}
	making, err := a.Enter(ctx)
	if err != nil {
		return nil, err
	}
	s, err := o.publish(making, id, a, plan, offer)
	if err != nil {
		a.Leave(err)
		return nil, err
	}
	a.Start(s.End)
	return s, nil
}

// PreferredCodec is what [Config].Choose does if it is nil: it returns the index
// of the codec that most viewers can decode. For video those are H.264 Constrained
// Baseline and VP8, in the publisher's order; then come other H.264, VP9, AV1,
// H.265, and the rest. For audio it is Opus, and then the publisher's first. A
// Choose of one's own may call it for what it leaves open.
func PreferredCodec(kind cdn.Kind, offered []cdn.Codec) int {
	return negotiate.Preferred(kind, offered)
}

// chooser decides what is taken of an offer to publish a stream.
func (o *Origin) chooser(id cdn.StreamID) negotiate.Chooser {
	var choose negotiate.Chooser
	if f := o.config.Choose; f != nil {
		choose = func(kind cdn.Kind, offered []cdn.Codec) int { return f(id, kind, offered) }
	}
	return negotiate.Only(o.allows, choose)
}

func (o *Origin) allows(c cdn.Codec) bool {
	return len(o.config.Codecs) == 0 || slices.ContainsFunc(o.config.Codecs, c.Is)
}

// publish gives the session its input and answers.
func (o *Origin) publish(ctx context.Context, id cdn.StreamID, a *cdn.Admission, plan *receive.Plan, offer signal.Offer) (*session, error) {
	p, input, err := o.input(id, a.Grant().Subject, offer.Publication, plan.Tracks)
	if err != nil {
		return nil, err
	}
	s := &session{published: p, input: input, admission: a}
	if s.transport, err = o.receive(ctx, s, plan); err != nil {
		p.abandon(input, err)
		return nil, &cdn.Error{Op: "publish", Stream: id, Err: err}
	}
	return s, nil
}

// receive makes a session of Delta's own, or a PeerConnection where that is wanted,
// or needed by an offer that is out of the ordinary.
func (o *Origin) receive(ctx context.Context, s *session, plan *receive.Plan) (transport, error) {
	expires := s.admission.Grant().Expires
	if !o.config.PeerConnections && !o.node.Tuned() {
		o.add(s)
		t, err := receive.Answer(receive.Config{
			Input: s.input, Transport: o.node.Transport(), Log: o.node.Logger().With("stream", string(s.published.stream.ID())),
			PionLog: o.node.PionLogger(), Watch: &o.watch, Clock: &o.clock, Expires: expires, Proved: s.admission.Proved,
			Ended: s.received,
		}, plan)
		if err == nil {
			s.own.Store(t)
			return t, nil
		}
		o.remove(s, receive.Stats{})
		if !errors.Is(err, cdn.ErrUnsupported) {
			return nil, err
		}
		o.node.Logger().Info("a publisher gets a PeerConnection", "stream", string(s.published.stream.ID()), "why", err)
	}
	return pcrecv.Answer(ctx, pcrecv.Config{
		Node: o.node, Input: s.input, Expires: expires, Connected: s.admission.Proved, Ended: s.ended,
	}, plan)
}

// input finds or makes the stream and adds a way in. A stream whose codecs the
// newcomer does not continue ends, and a new one of the same name begins:
// viewers have to negotiate anew anyway.
func (o *Origin) input(id cdn.StreamID, subject, publication string, tracks []cdn.TrackInfo) (*published, *cdn.Input, error) {
	for {
		p, err := o.stream(id)
		if err != nil {
			return nil, nil, err
		}
		input, err := p.newInput(subject, publication, tracks)
		switch {
		case err == nil:
			o.tell()
			return p, input, nil
		case errors.Is(err, cdn.ErrNoCommonCodec), errors.Is(err, cdn.ErrEnded):
			p.end(err) // and another is made
		default:
			p.endUnused(err)
			return nil, nil, err
		}
	}
}

// stream returns the stream of that name, made now if need be.
func (o *Origin) stream(id cdn.StreamID) (*published, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return nil, &cdn.Error{Op: "publish", Stream: id, Err: cdn.ErrClosed}
	}
	if p := o.streams[id]; p != nil {
		return p, nil
	}
	s, err := o.node.NewStream(id)
	if err != nil {
		return nil, err
	}
	own := rand.Text()
	p := &published{origin: o, stream: s, own: own, publication: own}
	o.streams[id] = p
	return p, nil
}

// Changed implements [cdn.Notifier].
func (o *Origin) Changed() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.changed
}

// tell says that a stream has come.
func (o *Origin) tell() {
	o.mu.Lock()
	defer o.mu.Unlock()
	close(o.changed)
	o.changed = make(chan struct{})
}

// Open returns a stream that is being published here.
func (o *Origin) Open(_ context.Context, r cdn.Request) (*cdn.Subscription, error) {
	if slices.Contains(r.Path, o.node.ID()) {
		return nil, &cdn.Error{Op: "open", Stream: r.Stream, Err: cdn.ErrLoop}
	}
	o.mu.Lock()
	p := o.streams[r.Stream]
	o.mu.Unlock()
	if p == nil || p.stream.Tracks() == nil || p.stream.Err() != nil {
		return nil, &cdn.Error{Op: "open", Stream: r.Stream, Err: cdn.ErrNotFound}
	}
	return cdn.NewSubscription(p.stream, nil), nil
}

// Close ends all publishers' sessions and streams and waits for them.
func (o *Origin) Close() error {
	o.mu.Lock()
	o.closed = true
	all := make([]*published, 0, len(o.streams))
	for _, p := range o.streams {
		all = append(all, p)
	}
	o.mu.Unlock()
	for _, p := range all {
		p.end(cdn.ErrClosed)
		p.work.Wait()
	}
	return nil
}
