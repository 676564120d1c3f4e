package link

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/endpoint"
	"github.com/deltacdn/delta/internal/link/control"
	"github.com/deltacdn/delta/internal/rtp/feedback"
	"github.com/deltacdn/delta/internal/sdp"
	"github.com/deltacdn/delta/internal/send"
	"github.com/deltacdn/delta/internal/service"
	"github.com/deltacdn/delta/internal/trouble/reason"
	"github.com/deltacdn/delta/internal/udp/egress"
)

// readyTimeout bounds how long another node waits for a stream that this one is still
// fetching.
const readyTimeout = 8 * time.Second

// resumeAge is the age of the oldest keyframe with which a node may go on that has
// had the stream before. A node that has not gets as much as there is, for its own
// viewers to begin with.
const resumeAge = 4 * time.Second

// An outbound subscription is a stream that the other node has from this one. One
// goroutine begins it, waits for its end, and releases what it holds.
type outbound struct {
	// static
	link      *Link
	id        uint64
	requested cdn.StreamID    // the stream's name, as the other node wrote it
	ctx       context.Context // ends with the subscription; its cause says why
	cancel    context.CancelCauseFunc
	done      chan struct{}

	// set before media flows
	tracing
	stream *cdn.Stream
	set    *send.Set
	tracks []control.Track
	layers []*sentLayer
	media  writer // Consume uses it
	again  writer // the port's reader uses it

	telling sync.Mutex // held by tell, so that the newest answer leaves last

	mu      sync.Mutex
	last    answer
	wanted  []string // layers; nil: all
	started bool
}

// serve begins a subscription that the other node asks for.
func (l *Link) serve(a control.Asked) {
	s := &outbound{link: l, id: a.ID, requested: cdn.StreamID(a.Subscribe.Stream), done: make(chan struct{})}
	s.ctx, s.cancel = context.WithCancelCause(l.conn.Context())
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.subs.over {
		s.cancel(l.conn.Err())
		return
	}
	l.subs.out[s.id] = s
	l.updateIdleLocked()
	l.work.Go(func() { s.run(a.Subscribe) })
}

// end ends the subscription and does not wait. The first reason stays.
func (s *outbound) end(err error) { s.cancel(err) }

// run is the subscription's goroutine.
func (s *outbound) run(a control.Subscribe) {
	defer close(s.done)
	err := s.serve(a)
	s.cancel(err)
	l := s.link
	s.log(err)
	why := s.refusal(err)
	l.talk.do(func(now time.Time, c *control.Conn) { c.End(now, s.id, why) })
	l.removeOutbound(s.id)
}

// log logs why a node does not get a stream, if that may be a mistake: the other node
// is told only a word.
func (s *outbound) log(err error) {
	log := s.link.links.node.Logger().With("peer", string(s.link.Peer()), "stream", string(s.requested))
	switch {
	case reason.Word(err) == reason.Failed:
		log.Warn("serving another node failed", "err", err)
	case reason.Refused(err) != nil, errors.Is(err, cdn.ErrOverLimit):
		log.Info("another node is refused a stream", "err", err)
	}
}

// serve sends the stream until it ends, if the other node may have it, and returns
// why it ended.
func (s *outbound) serve(a control.Subscribe) (err error) {
	node := s.link.links.node
	r, err := request(a)
	if err != nil {
		return err
	}
	source := s.link.links.source()
	if source == nil {
		return cdn.ErrUnsupported // an edge, which serves no nodes
	}
	ctx := s.trace(a)
	defer func() { s.traceEnd(err) }()
	admission, err := node.Authorize(ctx, cdn.AuthRequest{
		Action: cdn.ActionFetch, Stream: r.Stream, Credential: a.Credential, RemoteAddr: s.link.conn.To().String(), Node: s.link.Peer(),
		Trusted: !s.link.links.trust.Open(), // or there would be no link
	})
	if err != nil {
		return err
	}
	making, err := admission.Enter(ctx)
	if err != nil {
		return err
	}
	admission.Proved() // or there would be no link
	err = s.send(making, source, r, a, admission)
	admission.Leave(err)
	return err
}

// send opens the stream, sends it until it ends, and returns why it ended.
func (s *outbound) send(making context.Context, source cdn.Source, r cdn.Request, a control.Subscribe, admission *cdn.Admission) error {
	if err := s.link.links.loops(r.Stream, s.link.Peer()); err != nil {
		return err
	}
	sub, err := s.open(making, source, r, a.Resumes)
	if err != nil {
		return err
	}
	defer sub.Close()
	s.stream = sub.Stream()
	if err := s.prepare(a.Resumes); err != nil {
		return err
	}
	defer s.link.links.node.Measure(s.measure)()
	defer s.set.Close()
	defer s.link.media.addSenders(s)()
	s.tell(time.Now())
	s.start(a.Layers)
	defer s.stream.Attach(service.Batched{Runtime: s.link.links.transport, Consumer: s})()
	defer s.stream.AfterEnd(s.end)()
	admission.Start(s.end)
	return s.wait()
}

// measure adds the packets sent to the node's totals.
func (s *outbound) measure(t *cdn.Totals) {
	sent, _ := s.set.Sent()
	t.Links.Sent.Add(sent)
}

// request returns what a node asks for.
func request(a control.Subscribe) (r cdn.Request, err error) {
	if r.Stream, err = cdn.ParseStreamID(a.Stream); err != nil {
		return r, err
	}
	for _, n := range a.Path {
		id, err := cdn.ParseNodeID(n)
		if err != nil {
			return r, err
		}
		r.Path = append(r.Path, id)
	}
	return r, nil
}

// open opens the stream and waits until it is ready. A node that resumes it waits until
// it has an input, too: two nodes that have both lost a stream would only feed each
// other with its rest.
func (s *outbound) open(making context.Context, source cdn.Source, r cdn.Request, resumes bool) (sub *cdn.Subscription, err error) {
	making, span := s.link.links.node.Continue(making, "wait for input")
	defer func() { span.End(err) }()
	ctx, cancel := context.WithTimeout(making, readyTimeout)
	defer cancel()
	sub, err = source.Open(ctx, r)
	if err != nil {
		return nil, err
	}
	err = sub.Stream().Ready(ctx)
	if err == nil && resumes {
		err = sub.Stream().WaitInput(ctx)
	}
	if err != nil {
		sub.Close()
		if making.Err() != nil {
			err = context.Cause(making)
		}
		return nil, err
	}
	return sub, nil
}

// wait returns why the subscription has to end.
func (s *outbound) wait() error {
	for {
		changed := s.stream.Changed()
		s.tell(time.Now())
		select {
		case <-changed:
		case <-s.ctx.Done():
			return context.Cause(s.ctx)
		}
	}
}

// prepare makes the senders of the stream's tracks.
func (s *outbound) prepare(resumes bool) (err error) {
	out, err := s.link.conn.NewWriter()
	if err != nil {
		return err
	}
	s.media = writer{out, s.link.adaptation.trunk}
	s.again = s.media
	start := send.Start{Mode: send.StartCatchUp}
	if resumes {
		start.Age = resumeAge
	}
	s.set = send.New(send.Config{Node: true, Resumes: resumes, Start: start, OnStep: s.step, Trunk: s.link.adaptation.trunk})
	if n := len(s.stream.Tracks()); n > maxTracks {
		return fmt.Errorf("%w: %d tracks, and %d have payload types on a link", cdn.ErrOverLimit, n, maxTracks)
	}
	for i, t := range s.stream.Tracks() {
		s.tracks = append(s.tracks, s.addTrack(i, t))
	}
	return nil
}

// firstPayload is the first dynamic payload type (RFC 3551 section 3). Each track has
// two.
const (
	firstPayload = 96
	maxTracks    = (128 - firstPayload) / 2
)

// addTrack makes the senders of a track, and describes it.
func (s *outbound) addTrack(i int, t *cdn.Track) control.Track {
	info := t.Info()
	ids := make(map[string]uint8, len(info.Extensions))
	for n, uri := range info.Extensions {
		ids[uri] = uint8(n + 1)
	}
	number := uint8(len(info.Extensions) + 1)
	ids[sdp.URITransportCC] = number
	out := control.Track{
		ID: info.ID, Kind: info.Kind.String(), MimeType: info.Codec.MimeType, ClockRate: info.Codec.ClockRate,
		Channels: info.Codec.Channels, Fmtp: info.Codec.Fmtp, Extensions: info.Extensions, Number: number,
		PT: uint8(firstPayload + 2*i), RTX: uint8(firstPayload + 2*i + 1),
	}
	line := &send.Line{Track: t, PT: out.PT, RTX: out.RTX}
	for _, layer := range t.Layers() {
		ssrc, rtx := s.link.links.newSSRC(), s.link.links.newSSRC()
		snd := s.set.Add(line, layer, layer.Name())
		snd.Bind(send.Output{To: &s.again, SSRC: ssrc, RTX: rtx, Extensions: ids})
		s.layers = append(s.layers, &sentLayer{Layer: layer, sender: snd})
		out.Layers = append(out.Layers, control.Layer{Name: layer.Name(), SSRC: ssrc, RTX: rtx})
	}
	return out
}

// tell describes the stream to the other node if the description has changed.
func (s *outbound) tell(now time.Time) {
	s.telling.Lock()
	defer s.telling.Unlock()
	if s.set.Outgrown() {
		s.end(send.ErrOutgrown) // the other node asks anew
		return
	}
	c, hasInput := s.stream.Input()
	if slices.Contains(c.Path, s.link.Peer()) {
		s.end(fmt.Errorf("%w: it comes from there", cdn.ErrLoop))
		return
	}
	s.mu.Lock()
	if !hasInput && s.last.config != nil {
		c = *s.last.config // the path that it took
	}
	c.Sender, _ = s.stream.Sender()
	if !s.last.differs(now, c, s.layers) {
		s.mu.Unlock()
		return
	}
	s.last = answer{config: &c, at: now}
	for _, l := range s.layers {
		l.told = l.facts()
	}
	s.mu.Unlock()
	a := control.Subscribed{Publication: c.Publication, Epoch: c.Epoch, Tracks: s.describe(), Sender: senderWord(c.Sender)}
	for _, d := range c.Delays {
		a.Delays = append(a.Delays, float64(d.Microseconds())/1000)
	}
	a.Path = names[string](append(slices.Clone(c.Path), s.link.links.node.ID()))
	s.link.talk.do(func(now time.Time, c *control.Conn) { c.Accept(now, s.id, a) })
}

// start begins to send the named layers, all of them for nil.
func (s *outbound) start(layers []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wanted == nil {
		s.wanted = layers
	}
	s.set.Want(s.wanted)
	s.set.Start()
	s.started = true
}

// want changes which layers travel.
func (s *outbound) want(layers []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wanted = layers
	if s.started {
		s.set.Want(layers)
		s.stream.WakeAt(time.Now())
	}
}

// handle takes the other node's feedback about one RTP stream.
func (s *outbound) handle(now time.Time, m feedback.Message) {
	s.again.Into(s.link.links.transport.Reply, s.link.conn.To())
	s.set.Handle(now, m) // a node is not given up as too slow
}

// Consume sends the packets that have come since the last call. A worker of the node
// calls it, with its batch.
func (s *outbound) Consume(batch *egress.Batch) {
	s.media.Into(batch, s.link.conn.To())
	reports := s.set.Consume(batch.Now(), &s.media)
	if len(reports) > 0 {
		s.link.media.sendRTCP(reports...)
		s.tell(time.Now()) // as often as it reports
	}
}

// ServeBy implements [service.Timed].
func (s *outbound) ServeBy(serveAt func(time.Time)) { s.set.ServeBy(serveAt) }

// A writer counts the bytes that it seals. One goroutine at a time uses it.
type writer struct {
	endpoint.Writer
	trunk *send.Trunk
}

// WriteRTP implements send.RTPWriter.
func (w *writer) WriteRTP(header, payload []byte) (int, error) {
	n, err := w.Writer.WriteRTP(header, payload)
	w.trunk.Sent(n)
	return n, err
}
