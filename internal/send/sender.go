package send

import (
	"slices"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/budget"
	"github.com/deltacdn/delta/internal/codec"
	"github.com/deltacdn/delta/internal/munge"
	"github.com/deltacdn/delta/internal/slow"
)

// A Sender is one RTP stream to the receiver. What can change is guarded by its
// set's mu.
type Sender struct {
	// static
	set      *Set
	line     *Line
	rid      string
	video    bool
	pictures *codec.Pictures
	// descriptor is the track's id of the dependency descriptor, 0: none, or
	// layers are never switched
	descriptor uint8

	out    Output
	ids    [16]uint8 // of the track's extensions, as negotiated
	wide   bool      // some are above 14, which only the two-byte form has
	delays bool      // delay is written
	delay  [3]byte
	known  int // how many layers the track had at first
	layer  *cdn.Layer
	cursor cdn.Cursor
	next   *cdn.Layer // switched to at its next keyframe; nil: none
	ahead  cdn.Cursor // of next
	// release and releaseNext give back what is claimed of the two layers.
	release, releaseNext func()
	munger               munge.Munger[*run]
	run                  *run      // the present one; nil before the first
	newestAt             time.Time // when the newest packet was sent

	idle   bool // nothing is sent, since the node does not want the layer
	begged bool // for a keyframe, meanwhile

	held  bool      // on a lower layer than there is, since the viewer is slow
	check time.Time // when to see again which layers are fed

	opening  []*cdn.Packet // a picture to begin with; nil: none, or it is sent
	haste    *haste        // nil once the receiver has what is live
	waiting  bool          // for a keyframe
	resume   time.Time     // not before this
	asked    bool          // for the keyframe
	askAt    time.Time     // not before this
	shedding shedState
	lost     uint64 // of the cursor, as seen
	picture  pictureState
	header   []byte // of what is sent
	named    uint64 // from this number on packets do not say their mid; 0: not known
	scratch  []byte
	owed     *[owedSlots]uint64 // asked for before it was here; 0: none; nil: nothing yet
	rtxSeq   uint16
	// unaccounted is how many bytes of media the budget has not heard of yet.
	unaccounted int
	budget      *budget.Budget
	slow        *slow.Detector
	reported    reportState
}

// An RTPWriter sends packets: the header as it is on the wire, and the payload. It
// may not keep what it is given, and returns how long the packet was.
type RTPWriter interface {
	WriteRTP(header, payload []byte) (n int, err error)
}

// Output is where and how a Sender's packets go, as negotiated.
type Output struct {
	To   RTPWriter
	SSRC uint32
	RTX  uint32 // SSRC of retransmissions; 0: they go out as they were
	// Mid is written with the first packets, and each one of a sender that has a
	// RID. If empty, it is the line's.
	Mid string
	// Extensions has the id of each header extension that the receiver takes,
	// by URI.
	Extensions map[string]uint8

	mid, delay, rid uint8 // ids out of Extensions; 0: not taken
}

func newSender(s *Set, l *Line, layer *cdn.Layer, rid string) *Sender {
	info := l.Track.Info()
	descriptor := uint8(slices.Index(info.Extensions, uriDescriptor) + 1)
	if rid != "" {
		descriptor = 0
	}
	return &Sender{
		descriptor: descriptor, known: len(l.Track.Layers()),
		set: s, line: l, rid: rid, layer: layer, release: s.claim(layer), waiting: true,
		video:    info.Kind == cdn.Video,
		pictures: codec.PicturesFor(info.Codec.MimeType),
		budget:   budget.New(repairs(s.config.Node)),
		slow:     slow.New(s.config.Slow),
	}
}

// repairs is what may be sent again: to a node, which repairs for many, as much
// as is asked for.
func repairs(node bool) budget.Config {
	if node {
		return budget.Config{Share: 1, Burst: 1 << 20}
	}
	return budget.Config{}
}

// Bind tells the sender where its packets go.
func (s *Sender) Bind(o Output) {
	s.set.mu.Lock()
	defer s.set.mu.Unlock()
	o.mid, o.delay, o.rid = o.Extensions[uriMid], o.Extensions[uriPlayoutDelay], o.Extensions[uriRid]
	for i, uri := range s.line.Track.Info().Extensions {
		if i+1 < len(s.ids) {
			s.ids[i+1] = o.Extensions[uri]
		}
		if uri == uriPlayoutDelay && s.set.config.Playout != nil && i+1 < len(s.ids) {
			s.ids[i+1] = 0 // ours goes out in its place
		}
	}
	if d := s.set.config.Playout; d != nil && s.video && o.delay != 0 {
		s.delays, s.delay = true, d.bytes()
	}
	if o.Mid == "" {
		o.Mid = s.line.Mid
	}
	s.wide = max(o.mid, o.delay, o.rid, slices.Max(s.ids[:])) > 14
	o.Extensions = nil // they are read
	s.out = o
}

// Unbind says that nothing can be sent any more.
func (s *Sender) Unbind() {
	s.set.mu.Lock()
	defer s.set.mu.Unlock()
	s.out.To = nil
}

// write sends the header that was filled in, and payload.
func (s *Sender) write(payload []byte) (int, error) {
	to := s.out.To
	if s.set.to != nil {
		to = s.set.to
	}
	return to.WriteRTP(s.header, payload)
}

// drain sends what lies before the cursor.
func (s *Sender) drain(now time.Time) {
	if s.out.To == nil {
		return
	}
	s.advance(now)
	s.account(now)
}

func (s *Sender) advance(now time.Time) {
	s.open(now)
	s.follow(now)
	s.trySwitch(now)
	s.leap()
	s.shed(now)
	s.ask(now)
	for p := s.upcoming(now); p != nil; p = s.upcoming(now) {
		if lost := s.cursor.Lost(); lost != s.lost && s.video {
			s.lost = lost
			s.pause(now, time.Time{}, now)
		}
		if s.waiting {
			if !p.Keyframe {
				continue
			}
			if p.Arrival.Before(s.resume) {
				s.missed(now)
				continue
			}
			s.begin(now, s.layer, p)
		}
		s.send(now, p)
	}
}

// pause holds the video back until the next keyframe that comes from resume on,
// and asks for one at askAt if none has until then.
func (s *Sender) pause(now, resume, askAt time.Time) {
	s.waiting, s.resume, s.asked, s.askAt = true, resume, false, askAt
	s.ask(now)
}

// ask requests the keyframe that is waited for, once it is time.
func (s *Sender) ask(now time.Time) {
	if s.waiting && !s.asked && !now.Before(s.askAt) {
		s.asked = true
		s.layer.RequestKeyframe()
	}
}

// missed notes that a keyframe came before its time, or was found too late. If it
// is the one that was asked for, another one has to be.
func (s *Sender) missed(now time.Time) {
	if s.asked {
		s.asked, s.askAt = false, now.Add(shedAsks)
	}
}

// A run is a stretch of a layer that is sent without interruption.
type run struct {
	layer *cdn.Layer
	// What is added to the picture identifiers, and to the frame number of the
	// dependency descriptor.
	shift      codec.Picture
	moved      bool // whether shift applies
	frameShift uint16
}

// begin begins a run of layer l at its keyframe p.
func (s *Sender) begin(now time.Time, l *cdn.Layer, p *cdn.Packet) {
	next, at := &run{layer: l}, place{as: p.Timestamp}
	if s.run != nil && !s.set.config.Node {
		at = s.place(now, l, p.Timestamp)
	}
	switch {
	case l != s.layer:
		s.picture.switched(s, next, p)
		s.arrived()
	case s.run != nil:
		*next = *s.run
	}
	s.layer, s.run, s.waiting = l, next, false
	s.arrive(now, next, p, at)
}

// send gives p the viewer's numbers and writes it.
func (s *Sender) send(now time.Time, p *cdn.Packet) {
	before, _ := s.munger.Last()
	seq, ts, ok := s.munger.Map(p.Seq, p.Timestamp)
	if !ok {
		return
	}
	s.fill(p, s.run, seq, uint32(ts), false)
	payload := s.picture.apply(s, p, seq > before)
	n, err := s.write(payload)
	if err != nil {
		return // the connection is going; the session hears of it
	}
	s.set.sentAt = now
	if seq > before {
		s.newestAt = now
	}
	s.unaccounted += n
	s.reported.sent(len(payload))
	s.settle(now, p, seq, uint32(ts))
}

// account tells the budget and the detector what was sent since the last time.
func (s *Sender) account(now time.Time) {
	n := s.unaccounted
	if n == 0 {
		return
	}
	s.unaccounted = 0
	s.budget.Sent(now, n)
	if s.video {
		s.slow.Sent(now, n)
	}
}
