package link

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/control"
	"github.com/deltacdn/delta/internal/ntp"
	"github.com/deltacdn/delta/signal"
)

// A fetching is a stream that this node has from the other one.
type fetching struct {
	// static
	link   *Link
	id     uint64
	stream *cdn.Stream
	config FetchConfig
	begun  time.Time
	inputs chan *cdn.Input // the input, when there is one; room for it
	ahead  chan struct{}   // what is on standby has more; room for one
	done   chan struct{}

	reading sync.Mutex // guards what follows; the port's reader has it, but for early packets
	in      *srtp.Context
	plain   []byte
	header  rtp.Header
	packet  rtp.Packet
	ext     []cdn.Ext

	last   atomic.Int64 // when media last came, since begun
	sender atomic.Int32 // a cdn.SenderState: what the other node says of who sends the stream to it

	mu     sync.Mutex
	input  *cdn.Input
	parts  []*part                    // layers of tracks that have several
	layers map[uint32]*cdn.LayerInput // by SSRC
	known  bool                       // its sources are
	over   bool
	err    error
}

// FetchConfig says what is fetched.
type FetchConfig struct {
	Request    cdn.Request
	Credential string
	// Standby: what comes feeds the stream only if nothing else does, and the fetch
	// ends with [ErrAhead] once it is newer than what the stream has.
	Standby bool
	// Dialer carries the offer, if the link has to be made.
	Dialer signal.LinkDialer
	// Silence is how long nothing may come, unless the other node says that the
	// stream's sender is there, or Excused, if that is not nil, that others have no
	// more. Required.
	Silence time.Duration
	Excused func() bool
	// Accepted is called once, when the other node has said what the stream
	// holds. It must not block.
	Accepted func()
}

// ErrAhead says that a node has more of a stream than has come from elsewhere.
var ErrAhead = errors.New("link: there is more")

// subscribe asks for a stream, at once.
func (l *Link) subscribe(c FetchConfig, s *cdn.Stream) (*fetching, error) {
	now := time.Now()
	f := &fetching{link: l, stream: s, config: c, begun: now, inputs: make(chan *cdn.Input, 1), layers: make(map[uint32]*cdn.LayerInput), ahead: make(chan struct{}, 1), done: make(chan struct{})}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped {
		return nil, l.err
	}
	path := make([]string, len(c.Request.Path))
	for i, id := range c.Request.Path {
		path[i] = string(id)
	}
	f.id = l.control.Subscribe(now, control.Subscribe{
		Stream: string(c.Request.Stream), Path: path, Credential: c.Credential, Resumes: hasBegun(s),
	})
	l.fetches[f.id] = f
	l.countLocked()
	l.links.transport.Port.Stir()
	l.pumpLocked()
	return f, nil
}

// hasBegun reports whether some of the stream has come before.
func hasBegun(s *cdn.Stream) bool {
	for _, t := range s.Tracks() {
		for _, l := range t.Layers() {
			if l.Newest() != nil {
				return true
			}
		}
	}
	return false
}

// wait returns when the stream does not come this way any more, and why. If
// nothing comes for silence, that is why.
func (f *fetching) wait(ctx context.Context, silence time.Duration) error {
	watch := time.NewTicker(silence / 4)
	defer watch.Stop()
	var unwanted <-chan struct{} // of the input, once there is one
	var input *cdn.Input
	for {
		select {
		case input = <-f.inputs:
			unwanted = input.Done()
		case <-unwanted:
			f.end(input.Err())
		case now := <-watch.C:
			if f.silent(now, silence) {
				f.end(&cdn.Error{Op: "fetch", Stream: f.stream.ID(), Node: f.link.Peer(), Err: cdn.ErrTimeout})
			}
		case <-f.ahead:
			f.end(ErrAhead)
		case <-ctx.Done():
			f.end(ctx.Err())
		case <-f.done:
			f.mu.Lock()
			defer f.mu.Unlock()
			return f.err
		}
		if f.ended() {
			unwanted = nil
		}
	}
}

// silent reports whether nothing has come for so long, and nobody says that
// there is nothing to come.
func (f *fetching) silent(now time.Time, d time.Duration) bool {
	return now.Sub(f.heard()) > d && cdn.SenderState(f.sender.Load()) != cdn.SenderPresent &&
		(f.config.Excused == nil || !f.config.Excused())
}

// says notes what the other node says of who sends the stream to it. What comes
// counts anew from a change on: it may have been silent for long by then.
func (f *fetching) says(s cdn.SenderState) {
	if f.sender.Swap(int32(s)) != int32(s) {
		f.last.Store(int64(time.Since(f.begun)))
	}
}

func (f *fetching) heard() time.Time {
	return f.begun.Add(time.Duration(f.last.Load()))
}

func (f *fetching) ended() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.over
}

// begins reports whether the stream has begun to come.
func (f *fetching) begins() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.known
}

// awaits reports whether an answer to a subscription is still to come.
func (l *Link) awaits() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range l.fetches {
		if f.waiting() {
			return true
		}
	}
	return false
}

func (f *fetching) waiting() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.known && !f.over
}

// accepted makes the input that the other node has described. Later ones tell of
// another way that the stream takes before it.
func (f *fetching) accepted(s control.Subscribed) {
	c := cdn.InputConfig{
		Publication: s.Publication, Epoch: s.Epoch, Sender: senderState(s.Sender), Standby: f.config.Standby,
	}
	f.says(c.Sender)
	for _, id := range s.Path {
		c.Path = append(c.Path, cdn.NodeID(id))
	}
	if slices.Contains(c.Path, f.link.links.node.ID()) {
		f.end(&cdn.Error{Op: "fetch", Stream: f.stream.ID(), Node: f.link.Peer(), Err: cdn.ErrLoop})
		return
	}
	f.link.links.untangle(f.stream.ID(), c.Path)
	f.mu.Lock()
	in, over := f.input, f.over
	f.mu.Unlock()
	switch {
	case over:
	case in != nil:
		in.Update(c)
		f.told(s.Tracks)
	default:
		if err := f.begin(c, s.Tracks); err != nil {
			f.end(&cdn.Error{Op: "fetch", Stream: f.stream.ID(), Node: f.link.Peer(), Err: err})
		}
	}
}

func (f *fetching) begin(c cdn.InputConfig, tracks []control.Track) error {
	infos := make([]cdn.TrackInfo, len(tracks))
	for i, t := range tracks {
		infos[i] = trackInfo(t)
	}
	m := &f.link.media
	in, err := m.keys.In(srtp.SRTPReplayProtection(replayWindow))
	if err != nil {
		return err
	}
	f.in = in
	input, err := f.stream.NewInput(c)
	if err != nil {
		return err
	}
	f.mu.Lock()
	over := f.over
	f.input = input
	f.mu.Unlock()
	if over {
		input.Close(f.err)
		return nil
	}
	for i, t := range tracks {
		for _, l := range t.Layers {
			input.Expect(i, l.Name, facts(l))
		}
	}
	if err := input.Start(infos); err != nil {
		return err
	}
	sources, err := f.sources(input, tracks)
	if err != nil {
		return err
	}
	f.inputs <- input
	m.add(sources)
	f.mu.Lock()
	f.known = true
	f.mu.Unlock()
	if f.config.Accepted != nil {
		f.config.Accepted()
	}
	return nil
}

func (f *fetching) sources(input *cdn.Input, tracks []control.Track) (all []*source, err error) {
	for i, t := range tracks {
		for _, l := range t.Layers {
			li, err := f.layer(input, i, l, len(t.Layers) > 1)
			if err != nil {
				return nil, err
			}
			f.mu.Lock()
			f.layers[l.SSRC] = li
			f.mu.Unlock()
			li.SetFacts(facts(l))
			if c := l.Clock; c != nil {
				li.SenderReport(time.Now(), ntp.Time(c.NTP), c.RTP)
			}
			s := &source{fetch: f, input: li, pt: t.PT, ssrc: l.SSRC, ids: extensionIDs(li.Track().Info(), t)}
			all = append(all, s)
			if l.RTX != 0 {
				all = append(all, &source{fetch: f, input: li, pt: t.RTX, ssrc: l.RTX, original: s})
			}
		}
	}
	return all, nil
}

// layer makes the input's end of a layer, which may be one of several.
func (f *fetching) layer(input *cdn.Input, track int, l control.Layer, several bool) (*cdn.LayerInput, error) {
	b := &back{link: f.link, ssrc: l.SSRC}
	if !several {
		return input.Layer(track, l.Name, b)
	}
	p := &part{back: b, fetch: f, name: l.Name, wanted: true}
	li, err := input.Layer(track, l.Name, p)
	if err != nil {
		return nil, err
	}
	p.input = li
	f.mu.Lock()
	defer f.mu.Unlock()
	f.parts = append(f.parts, p)
	return li, nil
}

// facts is what the other node knows of a layer.
func facts(l control.Layer) cdn.LayerFacts {
	return cdn.LayerFacts{
		Opaque: l.Opaque, Keyframes: l.Keyframes, EstimatedClock: l.Clock != nil && l.Clock.Estimated, Bitrate: l.Bitrate,
	}
}

// told notes what the other node says anew of layers.
func (f *fetching) told(tracks []control.Track) {
	for _, t := range tracks {
		for _, l := range t.Layers {
			f.mu.Lock()
			li := f.layers[l.SSRC]
			f.mu.Unlock()
			if li != nil {
				li.SetFacts(facts(l))
			}
		}
	}
}

// A part is a layer that need not travel. It goes back as its source does.
type part struct {
	*back
	fetch  *fetching
	name   string
	input  *cdn.LayerInput
	wanted bool // guarded by the fetch's mu
}

// Want implements [cdn.Chooser].
func (p *part) Want(yes bool) {
	f := p.fetch
	f.mu.Lock()
	p.wanted = yes
	names, all := []string{}, true
	for _, x := range f.parts {
		all = all && x.wanted
		if x.wanted && !slices.Contains(names, x.name) {
			names = append(names, x.name)
		}
	}
	f.mu.Unlock()
	if all {
		names = nil
	}
	f.link.do(func(now time.Time, c *control.Conn) { c.Want(now, f.id, names) })
}

// extensionIDs pairs the sender's ids with those of the stream's track, which
// another sender may have declared.
func extensionIDs(ours cdn.TrackInfo, theirs control.Track) (ids []extensionID) {
	for i, uri := range ours.Extensions {
		if n := slices.Index(theirs.Extensions, uri); n >= 0 && n < 255 && i < 255 { // others have no id
			ids = append(ids, extensionID{theirs: uint8(n + 1), ours: uint8(i + 1)})
		}
	}
	return ids
}

// end begins the end of the fetch. The first reason stays.
func (f *fetching) end(err error) {
	f.mu.Lock()
	if f.over {
		f.mu.Unlock()
		return
	}
	f.over, f.err = true, err
	in := f.input
	f.mu.Unlock()
	l := f.link
	l.do(func(now time.Time, c *control.Conn) { c.Unsubscribe(now, f.id) })
	l.mu.Lock()
	delete(l.fetches, f.id)
	l.countLocked()
	l.mu.Unlock()
	l.media.remove(f)
	if in != nil {
		in.Close(err)
	}
	close(f.done)
}

// back asks the other node for packets and keyframes of one source.
type back struct {
	link *Link
	ssrc uint32
}

func (b *back) RequestKeyframe() {
	b.link.media.request(&rtcp.PictureLossIndication{SenderSSRC: b.link.media.ssrc, MediaSSRC: b.ssrc})
}

// maxPairs keeps a NACK below the MTU: a pair has four bytes.
const maxPairs = 250

func (b *back) Nack(seqs []uint16) {
	slices.Sort(seqs)
	for pairs := range slices.Chunk(rtcp.NackPairsFromSequenceNumbers(seqs), maxPairs) {
		b.link.media.request(&rtcp.TransportLayerNack{SenderSSRC: b.link.media.ssrc, MediaSSRC: b.ssrc, Nacks: pairs})
	}
}
