package pcsend

import (
	"slices"
	"strings"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/budget"
	"github.com/deltacdn/delta/internal/codec"
	"github.com/deltacdn/delta/internal/munge"
	"github.com/deltacdn/delta/internal/slow"
)

type attributes = interceptor.Attributes

// A sender is one RTP stream to the other side. It is pion's TrackLocal, which
// tells it where and how to write. What can change is guarded by the session's
// mu.
type sender struct {
	// static
	session  *Session
	line     *line
	rid      string
	video    bool
	pictures *codec.Pictures
	// descriptor is the track's id of the dependency descriptor, 0: none, or
	// layers are never switched
	descriptor uint8

	out    output
	layer  *cdn.Layer
	cursor cdn.Cursor
	next   *cdn.Layer // switched to at its next keyframe; nil: none
	ahead  cdn.Cursor // of next
	munger munge.Munger[*cdn.Layer]

	held  bool      // on a lower layer than there is, since the viewer is slow
	check time.Time // when to see again which layers are fed

	waiting  bool      // for a keyframe
	resume   time.Time // not before this
	lost     uint64    // of the cursor, as seen
	picture  pictureState
	header   rtp.Header
	scratch  []byte
	owed     [owedSlots]uint64 // asked for before it was here; 0: none
	budget   *budget.Budget
	slow     *slow.Detector
	reported reportState
}

// output is where and how packets go, as negotiated.
type output struct {
	write      webrtc.TrackLocalWriter
	ssrc       uint32
	rtx        uint32 // SSRC of retransmissions; 0: they go out as they were
	rtxSeq     uint16
	ids        [16]uint8 // of the track's extensions
	mid, delay uint8     // ids; 0: not taken
	ridID      uint8
}

func newSender(s *Session, l *line, layer *cdn.Layer, rid string) *sender {
	info := l.track.Info()
	descriptor := uint8(slices.Index(info.Extensions, uriDescriptor) + 1)
	if rid != "" {
		descriptor = 0
	}
	return &sender{
		descriptor: descriptor,
		session:    s, line: l, rid: rid, layer: layer, waiting: true,
		video:    info.Kind == cdn.Video,
		pictures: codec.PicturesFor(info.Codec.MimeType),
		budget:   budget.New(repairs(s.node)),
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

// ID names the track: a node that receives it reads the name in a=msid.
func (s *sender) ID() string       { return s.line.track.Info().ID }
func (s *sender) RID() string      { return s.rid }
func (s *sender) StreamID() string { return "delta" }

func (s *sender) Kind() webrtc.RTPCodecType {
	if s.video {
		return webrtc.RTPCodecTypeVideo
	}
	return webrtc.RTPCodecTypeAudio
}

func (s *sender) parameters() webrtc.RTPCodecParameters {
	c := s.line.codec
	p := webrtc.RTPCodecParameters{
		RTPCodecCapability: webrtc.RTPCodecCapability{
			MimeType: c.MimeType, ClockRate: c.ClockRate, Channels: c.Channels, SDPFmtpLine: c.Fmtp,
		},
		PayloadType: webrtc.PayloadType(c.PT),
	}
	for _, fb := range c.Feedback {
		name, param, _ := strings.Cut(fb, " ")
		p.RTCPFeedback = append(p.RTCPFeedback, webrtc.RTCPFeedback{Type: name, Parameter: param})
	}
	return p
}

// Bind is called by pion once negotiation is over.
func (s *sender) Bind(c webrtc.TrackLocalContext) (webrtc.RTPCodecParameters, error) {
	s.session.mu.Lock()
	defer s.session.mu.Unlock()
	s.out.write, s.out.ssrc = c.WriteStream(), uint32(c.SSRC())
	if s.line.codec.RTX != 0 {
		s.out.rtx = uint32(c.SSRCRetransmission())
	}
	if t := s.line.transceiver; t != nil {
		s.line.mid = t.Mid()
	}
	for _, e := range c.HeaderExtensions() {
		id := uint8(e.ID)
		switch e.URI {
		case uriMid:
			s.out.mid = id
		case uriRid:
			s.out.ridID = id
		case uriPlayoutDelay:
			s.out.delay = id
		}
		for i, uri := range s.line.track.Info().Extensions {
			if uri == e.URI && i+1 < len(s.out.ids) {
				s.out.ids[i+1] = id
			}
		}
	}
	return s.parameters(), nil
}

// Unbind is called by pion when the connection closes.
func (s *sender) Unbind(webrtc.TrackLocalContext) error {
	s.session.mu.Lock()
	defer s.session.mu.Unlock()
	s.out.write = nil
	return nil
}

// start puts the cursor where the viewer begins.
func (s *sender) start(catchUp time.Duration) {
	if !s.video {
		s.cursor = s.layer.Live()
		return
	}
	fresh := false
	if s.cursor, fresh = s.layer.FromKeyframe(catchUp); !fresh {
		s.layer.RequestKeyframe()
	}
}

// drain sends what lies before the cursor.
func (s *sender) drain(now time.Time) {
	if s.out.write == nil {
		return
	}
	s.follow(now)
	s.trySwitch(now)
	for p := s.cursor.Next(); p != nil; p = s.cursor.Next() {
		if lost := s.cursor.Lost(); lost != s.lost && s.video {
			s.lost = lost
			s.pause(now)
		}
		if s.waiting {
			if !p.Keyframe || now.Before(s.resume) {
				continue
			}
			s.run(s.layer, p)
		}
		s.send(now, p)
	}
}

// pause holds the video back until the next keyframe from resume on.
func (s *sender) pause(resume time.Time) {
	s.waiting, s.resume = true, resume
	s.layer.RequestKeyframe()
}

// run begins a run of layer l at its keyframe p.
func (s *sender) run(l *cdn.Layer, p *cdn.Packet) {
	as := p.Timestamp + s.munger.Shift()
	if l != s.layer {
		as = s.align(l, p.Timestamp)
		s.picture.switched(s, p)
	}
	s.layer, s.waiting = l, false
	s.munger.Start(l, p.Seq, p.Timestamp, as)
	s.reported.stale = true
}

// send gives p the viewer's numbers and writes it.
func (s *sender) send(now time.Time, p *cdn.Packet) {
	before, _ := s.munger.Last()
	seq, ts, ok := s.munger.Map(p.Seq, p.Timestamp)
	if !ok {
		return
	}
	s.fill(p, uint16(seq), uint32(ts))
	payload := s.picture.apply(s, p, seq > before)
	n, err := s.out.write.WriteRTP(&s.header, payload)
	if err != nil {
		return // the connection is going; the session hears of it
	}
	s.budget.Sent(now, n)
	if s.video {
		s.slow.Sent(now, n)
	}
	s.reported.sent(len(payload))
	s.settle(now, p, uint16(seq), uint32(ts))
}
