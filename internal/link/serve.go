package link

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/pion/rtcp"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/control"
	"github.com/deltacdn/delta/internal/dtlssrtp"
	"github.com/deltacdn/delta/internal/egress"
	"github.com/deltacdn/delta/internal/ntp"
	"github.com/deltacdn/delta/internal/reason"
	"github.com/deltacdn/delta/internal/send"
)

// readyTimeout bounds how long another node waits for a stream that this one is
// still fetching itself.
const readyTimeout = 8 * time.Second

// resumeAge is how old a keyframe may be for another node to go on with it and all
// that followed. One that has nothing of the stream yet gets as much as there is:
// it then has what its own viewers can begin with.
const resumeAge = 4 * time.Second

// A serving is a stream that the other node has from this one. One goroutine
// begins it, waits for its end, and gives back what it has.
type serving struct {
	// static
	link   *Link
	id     uint64
	wish   cdn.StreamID    // as the other node has it
	ctx    context.Context // ends with the serving; its cause says why
	cancel context.CancelCauseFunc
	done   chan struct{}

	// set before media flows
	stream *cdn.Stream
	set    *send.Set
	sealer *dtlssrtp.Sealer
	tracks []control.Track
	layers []*servedLayer
	media  writer // that Consume uses
	again  writer // that the port's reader uses

	telling sync.Mutex // held by tell, so that the newest is told last; taken ahead of mu

	mu      sync.Mutex
	told    *cdn.InputConfig // what the other node knows of the way that the stream takes
	toldAt  time.Time
	wanted  []string // layers; nil: all
	started bool
}

// A servedLayer is a layer that the other node has been told of.
type servedLayer struct {
	*cdn.Layer
	sender *send.Sender
	told   cdn.LayerFacts // guarded by the serving's mu
}

// serve begins what the other node has asked for.
func (l *Link) serve(a control.Asked) {
	s := &serving{link: l, id: a.ID, wish: cdn.StreamID(a.Subscribe.Stream), done: make(chan struct{})}
	s.ctx, s.cancel = context.WithCancelCause(l.ctx)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped {
		s.cancel(l.err)
		return
	}
	l.servings[s.id] = s
	l.countLocked()
	l.work.Go(func() { s.run(a.Subscribe) })
}

// end has the serving end, and does not wait. The first reason stays.
func (s *serving) end(err error) { s.cancel(err) }

func (s *serving) run(a control.Subscribe) {
	defer close(s.done)
	err := s.serve(a)
	s.cancel(err)
	l := s.link
	s.log(err)
	l.do(func(now time.Time, c *control.Conn) { c.End(now, s.id, control.Reason{Code: reason.Word(err)}) })
	l.mu.Lock()
	delete(l.servings, s.id)
	l.countLocked()
	l.mu.Unlock()
}

// log says why a node does not get a stream where that may be somebody's mistake: the
// other node is told a word.
func (s *serving) log(err error) {
	log := s.link.links.node.Logger().With("peer", string(s.link.Peer()), "stream", string(s.wish))
	switch {
	case reason.Word(err) == reason.Failed:
		log.Warn("serving another node failed", "err", err)
	case reason.Refused(err) != nil, errors.Is(err, cdn.ErrOverLimit):
		log.Info("another node is refused a stream", "err", err)
	}
}

// serve sends the stream, if the other node may have it, until that ends, and
// returns why.
func (s *serving) serve(a control.Subscribe) error {
	node := s.link.links.node
	r, err := request(a)
	if err != nil {
		return err
	}
	source := s.link.links.source()
	if source == nil {
		return cdn.ErrUnsupported // an edge, which serves no nodes
	}
	admission, err := node.Authorize(s.ctx, cdn.AuthRequest{
		Action: cdn.ActionFetch, Stream: r.Stream, Credential: a.Credential, RemoteAddr: s.link.path.to().String(), Node: s.link.Peer(),
		Trusted: !s.link.links.trust.Open(), // or there would be no link
	})
	if err != nil {
		return err
	}
	making, err := admission.Enter(s.ctx)
	if err != nil {
		return err
	}
	admission.Proved() // or there would be no link
	err = s.send(making, source, r, a, admission)
	admission.Leave(err)
	return err
}

// send opens the stream and sends it until that ends, and returns why.
func (s *serving) send(making context.Context, source cdn.Source, r cdn.Request, a control.Subscribe, admission *cdn.Admission) error {
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
	defer s.set.Close()
	defer s.link.media.addSenders(s)()
	s.tell(time.Now())
	s.start(a.Layers)
	defer s.stream.AttachBatch(s.link.links.node, s)()
	defer s.stream.AfterEnd(s.end)()
	admission.Start(s.end)
	return s.wait(admission.Grant())
}

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

// open brings the stream, ready. A node that goes on with it gets it once it
// comes again, if it has been lost here too: with what is left of it the two
// would only feed each other.
func (s *serving) open(making context.Context, source cdn.Source, r cdn.Request, resumes bool) (*cdn.Subscription, error) {
	ctx, cancel := context.WithTimeout(making, readyTimeout)
	defer cancel()
	sub, err := source.Open(ctx, r)
	if err != nil {
		return nil, err
	}
	err = sub.Stream().Ready(ctx)
	if err == nil && resumes {
		err = sub.Stream().Fed(ctx)
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

// wait returns why the serving has to end.
func (s *serving) wait(g cdn.Grant) error {
	var expired <-chan time.Time
	if !g.Expires.IsZero() {
		t := time.NewTimer(time.Until(g.Expires))
		defer t.Stop()
		expired = t.C
	}
	for {
		changed := s.stream.Changed()
		s.tell(time.Now())
		select {
		case <-changed:
		case <-expired:
			return cdn.ErrUnauthorized
		case <-s.ctx.Done():
			return context.Cause(s.ctx)
		}
	}
}

// prepare makes what sends the stream's tracks.
func (s *serving) prepare(resumes bool) (err error) {
	if s.sealer, err = s.link.media.keys.Sealer(); err != nil {
		return err
	}
	start := send.Start{Mode: send.StartCatchUp}
	if resumes {
		start.Age = resumeAge
	}
	s.set = send.New(send.Config{Node: true, Resumes: resumes, Start: start})
	s.media, s.again = writer{serving: s}, writer{serving: s, batch: s.link.links.transport.Reply}
	if n := len(s.stream.Tracks()); n > maxTracks {
		return fmt.Errorf("%w: %d tracks, and %d have payload types on a link", cdn.ErrOverLimit, n, maxTracks)
	}
	for i, t := range s.stream.Tracks() {
		s.tracks = append(s.tracks, s.addTrack(i, t))
	}
	return nil
}

// firstPayload is the first dynamic payload type (RFC 3551). Each track has two.
const (
	firstPayload = 96
	maxTracks    = (128 - firstPayload) / 2
)

func (s *serving) addTrack(i int, t *cdn.Track) control.Track {
	info := t.Info()
	ids := make(map[string]uint8, len(info.Extensions))
	for n, uri := range info.Extensions {
		ids[uri] = uint8(n + 1)
	}
	out := control.Track{
		ID: info.ID, Kind: info.Kind.String(), MimeType: info.Codec.MimeType, ClockRate: info.Codec.ClockRate,
		Channels: info.Codec.Channels, Fmtp: info.Codec.Fmtp, Extensions: info.Extensions,
		PT: uint8(firstPayload + 2*i), RTX: uint8(firstPayload + 2*i + 1),
	}
	line := &send.Line{Track: t, PT: out.PT, RTX: out.RTX}
	for _, layer := range t.Layers() {
		ssrc, rtx := s.link.links.newSSRC(), s.link.links.newSSRC()
		snd := s.set.Add(line, layer, layer.Name())
		snd.Bind(send.Output{To: &s.again, SSRC: ssrc, RTX: rtx, Extensions: ids})
		s.layers = append(s.layers, &servedLayer{Layer: layer, sender: snd})
		out.Layers = append(out.Layers, control.Layer{Name: layer.Name(), SSRC: ssrc, RTX: rtx})
	}
	return out
}

// trackInfo is what a track is to the node that receives it.
func trackInfo(t control.Track) cdn.TrackInfo {
	info := cdn.TrackInfo{
		ID: t.ID, Codec: cdn.Codec{MimeType: t.MimeType, ClockRate: t.ClockRate, Channels: t.Channels, Fmtp: t.Fmtp}, Extensions: t.Extensions,
	}
	switch t.Kind {
	case cdn.Audio.String():
		info.Kind = cdn.Audio
	case cdn.Video.String():
		info.Kind = cdn.Video
	}
	for _, l := range t.Layers {
		info.Layers = append(info.Layers, l.Name)
	}
	return info
}

// tell says what the stream holds and which way it takes, if that is news, or
// what is known of its layers is.
func (s *serving) tell(now time.Time) {
	s.telling.Lock()
	defer s.telling.Unlock()
	if s.set.Outgrown() {
		s.end(send.ErrOutgrown) // the other node asks anew
		return
	}
	c, fed := s.stream.Input()
	if slices.Contains(c.Path, s.link.Peer()) {
		s.end(fmt.Errorf("%w: it comes from there", cdn.ErrLoop))
		return
	}
	s.mu.Lock()
	if !fed && s.told != nil {
		c = *s.told // the way that it took
	}
	c.Sender, _ = s.stream.Sender()
	news := s.told == nil || s.told.Sender != c.Sender || s.told.Publication != c.Publication || s.told.Epoch != c.Epoch || !slices.Equal(s.told.Path, c.Path)
	news = news || now.Sub(s.toldAt) >= tellEvery && slices.ContainsFunc(s.layers, (*servedLayer).news)
	if !news {
		s.mu.Unlock()
		return
	}
	s.told, s.toldAt = &c, now
	for _, l := range s.layers {
		l.told = l.Facts()
	}
	s.mu.Unlock()
	a := control.Subscribed{Publication: c.Publication, Epoch: c.Epoch, Tracks: s.describe(), Sender: senderWord(c.Sender)}
	for _, id := range append(slices.Clone(c.Path), s.link.links.node.ID()) {
		a.Path = append(a.Path, string(id))
	}
	s.link.do(func(now time.Time, c *control.Conn) { c.Accept(now, s.id, a) })
}

func senderWord(s cdn.SenderState) string {
	switch s {
	case cdn.SenderPresent:
		return control.SenderPresent
	case cdn.SenderAbsent:
		return control.SenderAbsent
	case cdn.SenderUnknown:
	}
	return ""
}

func senderState(word string) cdn.SenderState {
	switch word {
	case control.SenderPresent:
		return cdn.SenderPresent
	case control.SenderAbsent:
		return cdn.SenderAbsent
	}
	return cdn.SenderUnknown
}

// tellEvery is how often it may be told what is known of layers.
const tellEvery = time.Second

// news reports whether the other node has to be told anew what is known of the
// layer. It measures the bitrate itself, unless the layer is held back.
func (l *servedLayer) news() bool {
	f := l.Facts()
	if f.Opaque != l.told.Opaque || f.Keyframes != l.told.Keyframes || f.EstimatedClock != l.told.EstimatedClock {
		return true
	}
	return l.sender.Holds() && math.Abs(f.Bitrate-l.told.Bitrate) > max(f.Bitrate, l.told.Bitrate)/4
}

// describe returns the tracks, with what is known of them now.
func (s *serving) describe() []control.Track {
	now := time.Now()
	tracks := slices.Clone(s.tracks)
	for i, t := range s.stream.Tracks() {
		tracks[i].Layers = slices.Clone(tracks[i].Layers)
		for k := range tracks[i].Layers {
			if l := t.Layer(tracks[i].Layers[k].Name); l != nil {
				out, f := &tracks[i].Layers[k], l.Facts()
				out.Bitrate, out.Opaque, out.Keyframes = f.Bitrate, f.Opaque, f.Keyframes
				if c, ok := l.Clock(); ok {
					wall, rtp := c.At(now)
					out.Clock = &control.Clock{RTP: uint32(rtp), NTP: ntp.Stamp(wall), Estimated: c.Estimated}
				}
			}
		}
	}
	return tracks
}

// start begins to send the layers named; nil: all.
func (s *serving) start(layers []string) {
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
func (s *serving) want(layers []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wanted = layers
	if s.started {
		s.set.Want(layers)
		s.stream.WakeAt(time.Now())
	}
}

// take notes what the other node says of one RTP stream.
func (s *serving) take(now time.Time, p rtcp.Packet) {
	s.again.to = s.link.path.to()
	s.set.Take(now, []rtcp.Packet{p}) // a node is not given up as too slow
}

// Consume sends what has come since the last time. A worker of the node calls
// it, with its batch.
func (s *serving) Consume(batch *egress.Batch) {
	s.media.batch, s.media.to = batch, s.link.path.to()
	reports := s.set.Consume(batch.Now(), &s.media)
	if len(reports) > 0 {
		s.link.media.sendRTCP(reports...)
		s.tell(time.Now()) // as often is often enough
	}
}

// writer seals packets straight into a batch. One goroutine at a time uses it.
type writer struct {
	serving *serving
	batch   *egress.Batch
	to      netip.AddrPort
}

// WriteRTP implements send.RTPWriter.
func (w *writer) WriteRTP(header, payload []byte) (int, error) {
	n := w.serving.sealer.RTP(w.batch, w.to, header, payload)
	w.serving.link.media.sent.Add(uint64(n))
	return n, nil
}
