package link

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/link/control"
	"github.com/deltacdn/delta/internal/rtp/ntp"
	"github.com/deltacdn/delta/signal"
)

// An inbound subscription is a stream that this node has from the other one.
type inbound struct {
	// static
	link   *Link
	id     uint64
	stream *cdn.Stream
	config FetchConfig
	begun  time.Time
	inputs chan *cdn.Input // the input, when there is one; room for one
	ahead  chan struct{}   // a standby has more than the stream; room for one
	came   chan struct{}   // the first packet has come; room for one
	done   chan struct{}

	reader reader
	last   atomic.Int64 // when media last came, since begun
	sender atomic.Int32 // the cdn.SenderState that the other node reports

	mu     sync.Mutex
	input  *cdn.Input
	chosen []*layerControl            // of layers that need not travel
	layers map[uint32]*cdn.LayerInput // by SSRC
	known  bool                       // its sources are
	waits  bool                       // for an answer
	answer control.Subscribed         // the last answer
	over   bool
	err    error
}

// FetchConfig says what is fetched, and how.
type FetchConfig struct {
	Request    cdn.Request
	Credential string
	// Standby: the fetch feeds the stream only if nothing else does, and ends with
	// [ErrAhead] once it has newer media than the stream.
	Standby bool
	// Handover: the fetch goes on where the present input is; see [cdn.InputConfig].
	Handover bool
	// Dialer carries the offer, if the link has to be made.
	Dialer signal.LinkDialer
	// Silence is how long no media may arrive. It is required. A fetch may be silent for
	// longer while the other node says that the stream's sender is present, or while
	// Excused, if not nil, says that other nodes have no more of it.
	Silence time.Duration
	Excused func() bool
	// Trace names the span in which the stream is fetched.
	Trace cdn.TraceContext
	// Up is called when there is a link, Accepted when the other node has described the
	// stream, and Began when the first packet has arrived. Each may be nil and must not
	// block. If a link turns out to be lost, they may be called again.
	Up, Accepted, Began func()
}

// ErrAhead says that a standby has more of a stream than its present input.
var ErrAhead = errors.New("link: there is more")

// subscribe asks for a stream. The question leaves at once if the link is up.
func (l *Link) subscribe(c FetchConfig, s *cdn.Stream) (*inbound, error) {
	now := time.Now()
	f := &inbound{
		link: l, stream: s, config: c, begun: now, inputs: make(chan *cdn.Input, 1), ahead: make(chan struct{}, 1),
		came: make(chan struct{}, 1), done: make(chan struct{}), layers: make(map[uint32]*cdn.LayerInput), waits: true,
	}
	f.reader.draining = true
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.subs.over {
		return nil, l.conn.Err()
	}
	subscribe := control.Subscribe{
		Stream: string(c.Request.Stream), Path: names[string](c.Request.Path), Credential: c.Credential, Resumes: hasBegun(s),
		TraceParent: c.Trace.Parent, TraceState: c.Trace.State,
	}
	l.links.transport.Port.Kick()
	l.media.awaiting.Add(1)
	l.talk.do(func(now time.Time, c *control.Conn) { f.id = c.Subscribe(now, subscribe) })
	l.subs.in[f.id] = f // ahead of the answer, which needs the lock
	l.updateIdleLocked()
	return f, nil
}

// names converts the names of nodes.
func names[To, From ~string](all []From) []To {
	out := make([]To, len(all))
	for i, name := range all {
		out[i] = To(name)
	}
	return out
}

// hasBegun reports whether the stream has had media before.
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

// wait returns when the subscription is over, and why. Silence ends it.
func (f *inbound) wait(ctx context.Context) error {
	watch := time.NewTicker(f.config.Silence / 4)
	defer watch.Stop()
	var unwanted <-chan struct{} // of the input, once there is one
	var input *cdn.Input
	up := f.link.up
	if f.config.Up == nil {
		up = nil
	}
	for {
		select {
		case <-up:
			f.config.Up()
			up = nil
		case <-f.came:
			if f.config.Began != nil {
				f.config.Began()
			}
		case input = <-f.inputs:
			unwanted = input.Done()
		case <-unwanted:
			f.end(input.Err())
		case now := <-watch.C:
			f.measure()
			if f.silent(now) {
				f.end(f.failure(cdn.ErrTimeout))
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

// failure returns the error of a fetch that fails.
func (f *inbound) failure(err error) error {
	return &cdn.Error{Op: "fetch", Stream: f.stream.ID(), Node: f.link.Peer(), Err: err}
}

// silent reports whether no media has arrived for too long, without an excuse.
func (f *inbound) silent(now time.Time) bool {
	last := f.begun.Add(time.Duration(f.last.Load()))
	return now.Sub(last) > f.config.Silence && cdn.SenderState(f.sender.Load()) != cdn.SenderPresent &&
		(f.config.Excused == nil || !f.config.Excused())
}

// setSender notes the sender state that the other node reports. Silence counts anew
// from a change on: it may have lasted for long by then.
func (f *inbound) setSender(s cdn.SenderState) {
	if f.sender.Swap(int32(s)) != int32(s) {
		f.last.Store(int64(time.Since(f.begun)))
	}
}

func (f *inbound) ended() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.over
}

// isKnown reports whether the sources of the stream are known.
func (f *inbound) isKnown() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.known
}

// answeredLocked notes that the subscription waits for no answer any more.
func (f *inbound) answeredLocked() {
	if f.waits {
		f.waits = false
		f.link.media.awaiting.Add(-1)
	}
}

// accepted makes the input that the other node has described. A later answer
// describes another path by which that node has the stream.
func (f *inbound) accepted(s control.Subscribed) {
	c := cdn.InputConfig{
		Publication: s.Publication, Epoch: s.Epoch, Sender: senderState(s.Sender), Standby: f.config.Standby, Handover: f.config.Handover,
		Delays: f.delays(s), Path: names[cdn.NodeID](s.Path),
	}
	f.setSender(c.Sender)
	if slices.Contains(c.Path, f.link.links.node.ID()) {
		f.end(f.failure(cdn.ErrLoop))
		return
	}
	f.link.links.breakLoops(f.stream.ID(), c.Path)
	f.mu.Lock()
	in, over := f.input, f.over
	f.answer = s
	f.mu.Unlock()
	switch {
	case over:
	case in != nil:
		in.Update(c)
		f.setFacts(s.Tracks)
	default:
		if err := f.begin(c, s.Tracks); err != nil {
			f.end(f.failure(err))
		}
	}
}

// delays returns how long media takes over each hop to this node, nil if that is not
// known of all hops.
func (f *inbound) delays(s control.Subscribed) (all []time.Duration) {
	rtt, ok := f.link.rtt()
	if !ok || len(s.Delays) != len(s.Path)-1 {
		return nil
	}
	for _, ms := range s.Delays {
		all = append(all, milliseconds(ms))
	}
	return append(all, rtt/2)
}

// milliseconds returns a time that another node told, to the microsecond; 0 for what is
// none.
func milliseconds(ms float64) time.Duration {
	if !(ms > 0) { // not a number, too
		return 0
	}
	return time.Duration(min(ms, 1e9) * float64(time.Millisecond)).Round(time.Microsecond)
}

// measure tells the input how long media takes over the link.
func (f *inbound) measure() {
	f.mu.Lock()
	in, answer := f.input, f.answer
	f.mu.Unlock()
	if _, ok := f.link.rtt(); ok && in != nil {
		in.SetDelays(names[cdn.NodeID](answer.Path), f.delays(answer))
	}
}

// begin makes the input, and has the media of its sources written to it.
func (f *inbound) begin(c cdn.InputConfig, tracks []control.Track) error {
	infos := make([]cdn.TrackInfo, len(tracks))
	for i, t := range tracks {
		infos[i] = trackInfo(t)
	}
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
	if f.reader.opener, err = f.link.conn.NewOpener(len(sources)); err != nil {
		return err
	}
	f.inputs <- input
	f.link.media.add(f, sources)
	f.mu.Lock()
	f.known = true
	f.answeredLocked()
	f.mu.Unlock()
	if f.config.Accepted != nil {
		f.config.Accepted()
	}
	return nil
}

// sources returns the sources of all layers.
func (f *inbound) sources(input *cdn.Input, tracks []control.Track) (all []*source, err error) {
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
			s := &source{in: f, input: li, pt: t.PT, ssrc: l.SSRC, number: t.Number, ids: extensionIDs(li.Track().Info(), t)}
			all = append(all, s)
			if l.RTX != 0 {
				all = append(all, &source{in: f, input: li, pt: t.RTX, ssrc: l.RTX, number: t.Number, original: s})
			}
		}
	}
	return all, nil
}

// layer makes the input of a layer, which may be one of several of its track.
func (f *inbound) layer(input *cdn.Input, track int, l control.Layer, several bool) (*cdn.LayerInput, error) {
	b := &back{link: f.link, ssrc: l.SSRC}
	if !several {
		return input.Layer(track, l.Name, b)
	}
	c := &layerControl{back: b, in: f, name: l.Name, wanted: true}
	li, err := input.Layer(track, l.Name, c)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.chosen = append(f.chosen, c)
	return li, nil
}

// setFacts notes what the other node has learned of layers.
func (f *inbound) setFacts(tracks []control.Track) {
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

// A layerControl asks the other node for a layer that need not travel.
type layerControl struct {
	*back
	in     *inbound
	name   string
	wanted bool // guarded by the subscription's mu
}

// SetActive implements [cdn.SelectiveUpstream].
func (p *layerControl) SetActive(yes bool) {
	f := p.in
	f.mu.Lock()
	p.wanted = yes
	names, all := []string{}, true
	for _, x := range f.chosen {
		all = all && x.wanted
		if x.wanted && !slices.Contains(names, x.name) {
			names = append(names, x.name)
		}
	}
	f.mu.Unlock()
	if all {
		names = nil
	}
	f.link.talk.do(func(now time.Time, c *control.Conn) { c.Want(now, f.id, names) })
}

// end ends the subscription. The first reason stays.
func (f *inbound) end(err error) {
	f.mu.Lock()
	if f.over {
		f.mu.Unlock()
		return
	}
	f.over, f.err = true, err
	in := f.input
	f.answeredLocked()
	f.mu.Unlock()
	l := f.link
	l.talk.do(func(now time.Time, c *control.Conn) { c.Unsubscribe(now, f.id) })
	l.removeInbound(f.id)
	l.media.remove(f)
	if in != nil {
		in.Close(err)
	}
	close(f.done)
}

// back asks the other node for packets and keyframes of one source. It implements
// [cdn.Back].
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
