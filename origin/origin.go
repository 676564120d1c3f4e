// Package origin accepts publishers. An [Origin] answers their offers (it is a
// [signal.Handler], for WHIP or any other signaling) and is a [cdn.Source] of what they
// send, for edges on the same node and for other nodes.
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
	"github.com/deltacdn/delta/internal/pc/pcrecv"
	"github.com/deltacdn/delta/internal/receive"
	"github.com/deltacdn/delta/internal/sdp"
	"github.com/deltacdn/delta/signal"
)

// Takeover says what happens when somebody publishes a stream that has a publisher.
type Takeover int

// The ways.
const (
	// TakeoverSameSubject lets a publisher take over from one with the same subject
	// ([cdn.Grant]), such as itself when it reconnects. Others, and those without a
	// subject, are refused with [cdn.ErrAlreadyPublishing].
	TakeoverSameSubject Takeover = iota
	// TakeoverNever refuses all others.
	TakeoverNever
	// TakeoverAlways lets everybody who may publish take over.
	TakeoverAlways
)

// FEC says when a publisher is asked for forward error correction of its video: ULPFEC in RED
// (RFC 5109, RFC 2198) or FlexFEC (RFC 8627, or the draft that libwebrtc implements). It
// repairs losses at the origin and ends there: viewers and other nodes get plain media.
// PeerConnections ([Config].PeerConnections) never take it.
type FEC int

// The ways.
const (
	// FECWithoutNACK asks for it where the publisher offers it and no generic NACK (RFC
	// 4585) for the codec. Where it has both, retransmissions repair more with fewer bits
	// as long as the round trip is short, and both together may double the bitrate.
	FECWithoutNACK FEC = iota
	// FECAlways asks each publisher for it that offers it, beside retransmissions. That is
	// for publishers far away, whose losses would be repaired too late.
	FECAlways
	// FECNever asks nobody for it.
	FECNever
)

// Config sets up an [Origin]. The zero value accepts whatever is published.
type Config struct {
	// Takeover says what a second publisher of a stream may do.
	Takeover Takeover
	// Grace is how long a stream waits for its publisher to come back after the connection
	// was lost; viewers stay. If zero, 5 s; if negative, not at all. A publisher that says
	// goodbye (WHIP DELETE) ends the stream at once.
	Grace time.Duration
	// Codecs are the MIME types that may be published, such as "video/H264".
	// If empty, all.
	Codecs []string
	// Choose decides which codec is used for a track for which the publisher offers several.
	// It gets those that Codecs allows, in the publisher's order, at least one, and returns
	// an index into them, or a negative number to leave the track out. It is called
	// concurrently, and should be quick. If nil, [PreferredCodec].
	Choose func(stream cdn.StreamID, kind cdn.Kind, offered []cdn.Codec) int
	// FEC says when forward error correction is used.
	FEC FEC
	// PeerConnections has publishers received by pion's PeerConnection instead of Delta's own
	// sessions, which take a fraction of its memory and time. It is the reference in tests,
	// and the way out if a client cannot connect to the other. Where [cdn.Config].Tune is
	// set, it is always so.
	PeerConnections bool
}

// An Origin accepts publishers. Its methods may be called concurrently.
type Origin struct {
	node   *cdn.Node
	config Config

	watch endpoint.Watch // over sessions of Delta's own
	clock receive.Clock
	work  sync.WaitGroup // sessions of all streams, those that have ended too, and timers

	mu       sync.Mutex
	streams  map[cdn.StreamID]*published
	sessions map[*session]struct{} // of Delta's own
	changed  chan struct{}         // closed when a stream has been added
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
	node.Serve(cdn.RoleOrigin)
	node.Own(o)
	return o, nil
}

// Offer starts a publisher's session.
func (o *Origin) Offer(ctx context.Context, offer signal.Offer) (_ signal.Session, err error) {
	id, err := cdn.ParseStreamID(string(offer.Stream))
	if err != nil {
		return nil, &cdn.Error{Op: "publish", Err: err}
	}
	ctx, span := o.node.Trace(ctx, "publish", cdn.Attr{Key: cdn.AttrStream, Value: string(id)})
	defer func() { span.End(err) }()
	a, err := o.node.Authorize(ctx, cdn.AuthRequest{
		Action: cdn.ActionPublish, Stream: id, Credential: offer.Credential, Query: offer.Query, RemoteAddr: offer.RemoteAddr,
	})
	if err != nil {
		return nil, err
	}
	plan, err := o.plan(id, offer)
	if err != nil {
		a.Leave(err)
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
	s.begin()
	return s, nil
}

// plan decides what is received of what an offer offers.
func (o *Origin) plan(id cdn.StreamID, offer signal.Offer) (*receive.Plan, error) {
	if offer.Publication != "" {
		if _, err := cdn.ParseNodeID(offer.Publication); err != nil {
			return nil, fmt.Errorf("%w: publication %.40q", cdn.ErrInvalid, offer.Publication)
		}
	}
	plan, err := receive.Accept(offer.SDP, o.chooser(id))
	if err != nil {
		return nil, err
	}
	if o.config.FEC != FECNever {
		plan.Correct(o.config.FEC == FECAlways)
	}
	if err := receive.Check(plan); errors.Is(err, cdn.ErrInvalid) { // ahead of touching a live stream
		return nil, err
	}
	return plan, nil
}

// PreferredCodec is the default of [Config].Choose: it returns the index of the codec that
// most viewers can decode. For video those are H.264 Constrained Baseline and VP8, in the
// publisher's order; then come other H.264, VP9, AV1, H.265, and the rest. For audio it is
// Opus, and then the publisher's first. Another Choose may call it for what it leaves open.
func PreferredCodec(kind cdn.Kind, offered []cdn.Codec) int {
	return sdp.Preferred(kind, offered)
}

// chooser returns what decides which codecs of an offer are used.
func (o *Origin) chooser(id cdn.StreamID) sdp.Chooser {
	var choose sdp.Chooser
	if f := o.config.Choose; f != nil {
		choose = func(kind cdn.Kind, offered []cdn.Codec) int { return f(id, kind, offered) }
	}
	return sdp.Only(o.allows, choose)
}

func (o *Origin) allows(c cdn.Codec) bool {
	return len(o.config.Codecs) == 0 || slices.ContainsFunc(o.config.Codecs, c.Is)
}

// publish adds the session's input and answers the offer.
func (o *Origin) publish(ctx context.Context, id cdn.StreamID, a *cdn.Admission, plan *receive.Plan, offer signal.Offer) (*session, error) {
	p, input, err := o.input(id, a.Grant().Subject, offer.Publication, plan.Tracks)
	if err != nil {
		return nil, err
	}
	s := &session{published: p, input: input, admission: a, parting: &parting{origin: o, stream: id}}
	if s.transport, err = o.receive(ctx, s, plan); err != nil {
		p.abandon(input, err)
		return nil, &cdn.Error{Op: "publish", Stream: id, Err: err}
	}
	return s, nil
}

// receive makes a session of Delta's own, or a PeerConnection where that is configured or
// the offer needs it.
func (o *Origin) receive(ctx context.Context, s *session, plan *receive.Plan) (transport, error) {
	if !o.config.PeerConnections && !o.node.Internal().Tuned {
		o.add(s)
		t, err := receive.Answer(receive.Config{
			Input: s.input, Transport: o.node.Internal(), Arrivals: o.node.Arrivals(), Log: o.node.Logger().With("stream", string(s.published.stream.ID())),
			PionLog: o.node.Internal().PionLog, Watch: &o.watch, Clock: &o.clock, MaxBitrate: s.admission.MaxBitrate, Proved: s.admission.Proved,
			Uplink: s.uplink, Ended: s.ownEnded,
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
		Node: o.node, Input: s.input, MaxBitrate: s.admission.MaxBitrate, Connected: s.admission.Proved, Ended: s.ended,
	}, plan)
}

// input finds or makes the stream and adds an input. A stream ends whose codecs the new
// publisher does not continue, and another of the same name begins: viewers have to
// negotiate again in any case.
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
			p.endUnused()
			return nil, nil, err
		}
	}
}

// stream returns the stream of that name, which is made if there is none.
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

// tell announces that a stream has been added.
func (o *Origin) tell() {
	o.mu.Lock()
	defer o.mu.Unlock()
	close(o.changed)
	o.changed = make(chan struct{})
}

// Open returns a stream that is published here. It is not ready yet while its publisher's
// session is being made.
func (o *Origin) Open(_ context.Context, r cdn.Request) (*cdn.Subscription, error) {
	if slices.Contains(r.Path, o.node.ID()) {
		return nil, &cdn.Error{Op: "open", Stream: r.Stream, Err: cdn.ErrLoop}
	}
	o.mu.Lock()
	p := o.streams[r.Stream]
	o.mu.Unlock()
	if p == nil || p.stream.Err() != nil {
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
	}
	o.work.Wait()
	return nil
}
