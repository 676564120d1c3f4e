package origin

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/receive"
)

// A PublishRequest says what a program publishes by [Origin.Publish].
type PublishRequest struct {
	// Stream names the stream. Required.
	Stream cdn.StreamID
	// Tracks are what is sent, at least one. Of each, Codec.MimeType is required:
	// "video/VP8", "video/H264", "audio/opus". What else is zero gets a default: an
	// ID ("audio", "video", "video2", …), the kind, and what is usual of the codec's
	// clock rate, channels and parameters. Layers names simulcast layers, the lowest
	// quality first.
	Tracks []cdn.TrackInfo
	// Credential is what the node's [cdn.Authorizer] is shown, and so is Query.
	Credential string
	Query      url.Values
	// Publication names what is sent, if the same is sent to several origins
	// (as in [signal.Offer]). Empty: to this one only.
	Publication string
	// KeyframeRequested is called when viewers need a keyframe of a layer: the encoder
	// should make one soon. It is called at most once in a window of some 500 ms a layer
	// and must not block. If nil, viewers wait for the next keyframe.
	KeyframeRequested func(track, layer string)
}

// A Publication is a stream that this program publishes: the session of a publisher
// that has no connection. Other publishers take it over, or may not, as
// [Config].Takeover says. Its methods may be called concurrently. It has no
// goroutine.
type Publication struct {
	// static
	published *published
	input     *cdn.Input
	admission *cdn.Admission
	tracks    []*Track
	begun     time.Time
	count     func() // for the last time
	done      chan struct{}

	mu    sync.Mutex
	err   error         // why it ended or is ending; nil: it goes on
	bound receive.Bound // of all tracks together
	sent  cdn.Flow
}

// Publish starts to publish a stream. It does what [Origin.Offer] does for a
// publisher that comes by WHIP: the node's [cdn.Authorizer] is asked, the session
// takes a place within the node's limits, is listed by [cdn.Node.Sessions] and can be
// ended there, and takes the stream over from another publisher where that is
// allowed. ctx bounds the call; the Publication outlives it.
//
// The caller must end the Publication. Errors wrap the sentinels of package cdn:
// [cdn.ErrInvalid] for tracks that cannot be, [cdn.ErrNoCommonCodec] for a codec that
// this origin does not take, [cdn.ErrUnauthorized], [cdn.ErrForbidden],
// [cdn.ErrOverLimit], [cdn.ErrAlreadyPublishing], [cdn.ErrClosed].
func (o *Origin) Publish(ctx context.Context, r PublishRequest) (_ *Publication, err error) {
	id, err := cdn.ParseStreamID(string(r.Stream))
	if err != nil {
		return nil, &cdn.Error{Op: "publish", Err: err}
	}
	ctx, span := o.node.Trace(ctx, "publish", cdn.Attr{Key: cdn.AttrStream, Value: string(id)})
	defer func() { span.End(err) }()
	tracks, err := o.describe(r)
	if err != nil {
		return nil, &cdn.Error{Op: "publish", Stream: id, Err: err}
	}
	a, err := o.node.Authorize(ctx, cdn.AuthRequest{Action: cdn.ActionPublish, Stream: id, Credential: r.Credential, Query: r.Query})
	if err != nil {
		return nil, err
	}
	if _, err = a.Enter(ctx); err != nil {
		return nil, err
	}
	p, err := o.publication(id, a, r, tracks)
	if err != nil {
		a.Leave(err)
		return nil, err
	}
	a.Proved() // there is no address to prove
	a.Start(p.End)
	p.input.AfterDone(p.End)
	return p, nil
}

// describe completes the request's tracks.
func (o *Origin) describe(r PublishRequest) ([]cdn.TrackInfo, error) {
	if r.Publication != "" {
		if _, err := cdn.ParseNodeID(r.Publication); err != nil {
			return nil, fmt.Errorf("%w: publication %.40q", cdn.ErrInvalid, r.Publication)
		}
	}
	if len(r.Tracks) == 0 {
		return nil, fmt.Errorf("%w: no tracks", cdn.ErrInvalid)
	}
	var all []cdn.TrackInfo
	for _, t := range r.Tracks {
		if err := complete(&t, all); err != nil {
			return nil, err
		}
		if !o.allows(t.Codec) {
			return nil, fmt.Errorf("%w: %s is not allowed here", cdn.ErrNoCommonCodec, t.Codec.MimeType)
		}
		all = append(all, t)
	}
	return all, nil
}

// publication adds the stream's input, with a writer for each layer.
func (o *Origin) publication(id cdn.StreamID, a *cdn.Admission, r PublishRequest, tracks []cdn.TrackInfo) (*Publication, error) {
	pub, input, err := o.input(id, a.Grant().Subject, r.Publication, tracks)
	if err != nil {
		return nil, err
	}
	p := &Publication{
		published: pub, input: input, admission: a, begun: time.Now(), done: make(chan struct{}),
		bound: receive.Bound{Max: a.MaxBitrate},
	}
	for i, info := range tracks {
		t, err := p.newTrack(i, info, r.KeyframeRequested)
		if err != nil {
			pub.abandon(input, err)
			return nil, err
		}
		p.tracks = append(p.tracks, t)
	}
	p.count = o.node.Measure(p.measure)
	return p, nil
}

// Track returns the track of that ID, or nil if the request has none.
func (p *Publication) Track(id string) *Track {
	if i := slices.IndexFunc(p.tracks, func(t *Track) bool { return t.info.ID == id }); i >= 0 {
		return p.tracks[i]
	}
	return nil
}

// Tracks returns the tracks in the request's order. The caller must not change the
// slice.
func (p *Publication) Tracks() []*Track { return p.tracks }

// Session names the Publication in events and in [cdn.Node.Sessions].
func (p *Publication) Session() string { return p.admission.Name() }

// Done is closed when the Publication has ended; Err then says why.
func (p *Publication) Done() <-chan struct{} { return p.done }

// Err returns why the Publication ended or is ending, and nil while it goes on:
// [cdn.ErrSuperseded] if another publisher took the stream over, [cdn.ErrLeft] after
// Close, the reason given to [cdn.Node.EndSession], [cdn.ErrExpired] when its grant is
// over, or why the stream ended.
func (p *Publication) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// End ends the Publication for the reason given and does not wait. The first reason
// stays. The stream goes on without its publisher for [Config].Grace if the reason
// wraps none of [cdn.ErrClosed], [cdn.ErrEnded], [cdn.ErrForbidden] and
// [cdn.ErrUnauthorized]: a program that will publish again soon ends with
// [cdn.ErrPeerLost], and viewers stay.
func (p *Publication) End(err error) {
	if err == nil {
		err = cdn.ErrLeft
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.endLocked(err)
}

func (p *Publication) endLocked(err error) {
	if p.err == nil {
		p.err = err
		go p.finish(err) // Origin.work waits for it
	}
}

// Close ends the Publication, and its stream unless another publisher has taken that
// over, and waits. Viewers are told that the stream ended. It is idempotent.
func (p *Publication) Close() error {
	p.End(cdn.ErrLeft)
	<-p.done
	return nil
}

// finish gives back what the Publication has.
func (p *Publication) finish(err error) {
	p.input.Close(err)
	p.count()
	p.admission.Leave(err)
	p.published.leave(p.input, true, err, nil)
	close(p.done)
}

// measure adds what was published.
func (p *Publication) measure(t *cdn.Totals) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t.Publishers.Received.Add(p.sent)
}

// take counts a packet of so many payload bytes, or returns why it is not taken.
func (p *Publication) take(now time.Time, bytes int) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return p.err
	}
	p.sent.Packets++
	p.sent.Bytes += uint64(bytes)
	if err := p.bound.Sent(now, bytes); err != nil {
		p.endLocked(err)
	}
	return p.err
}
