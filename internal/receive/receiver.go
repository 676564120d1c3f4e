// Package receive takes in what one sender gives: an [endpoint.Endpoint] whose
// packets are opened by the port's reader, matched with the m-sections of the offer
// (RFC 9143 section 9.2) and written into an input of a stream, and the feedback
// that the sender needs. A session has no goroutine and no timer of its own in
// steady state.
package receive

import (
	"encoding/binary"
	"slices"
	"sync"
	"time"

	"github.com/pion/rtp"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/endpoint"
	"github.com/deltacdn/delta/internal/receive/uplink"
	"github.com/deltacdn/delta/internal/rtp/ntp"
	"github.com/deltacdn/delta/internal/rtp/reception"
	"github.com/deltacdn/delta/internal/rtp/red"
	"github.com/deltacdn/delta/internal/sdp"
)

// A receiver sorts one sender's packets. All its methods but the constructor want
// its mu held.
type receiver struct {
	mu       sync.Mutex
	input    *cdn.Input
	sections []*section
	feedback feedback
	watch    watch
	bound    Bound
	over     error                      // why the sender has to be sent away; nil: it has not
	back     func(*source) cdn.Upstream // to the sender of an SSRC

	opener  *endpoint.Opener // nil before the handshake
	sources map[uint32]*source
	strays  []held // of SSRCs that cannot be matched yet
	stats   Stats
	warn    func(reason Drop, ssrc uint32, pt uint8)

	// Of the packet; variables would be allocated.
	packet  rtp.Packet
	header  []byte // as it came
	padded  []byte // its payload, likewise
	lifted  int    // bytes ahead of the media in that, of RED
	parity  []byte // the payload of a packet of correction; nil: it is none
	ext     []cdn.Ext
	blocks  []red.Block // of other packets, that it brings
	rebuilt rtp.Packet  // another, that was lost
}

// A section is an m-section that was accepted. Its media is one track.
type section struct {
	mid     string
	track   int // of the input
	choice  *sdp.Choice
	pt, rtx uint8       // payload types; rtx 0: none
	red     uint8       // payload type with redundancy, 0: none
	fec     *protection // nil: none
	ids     hopIDs
	layers  []*layer
	fir     bool // it takes full intra requests only
	nack    bool
}

// hopIDs are the ids of the header extensions that are for one hop, 0: none.
type hopIDs struct{ mid, rid, repaired, transport uint8 }

// A layer is fed by one source at a time.
type layer struct {
	section *section
	name    string
	input   *cdn.LayerInput // nil before the first packet
	source  *source         // that feeds it
	contest *contest        // another that may be going to; nil: there is none
	changes time.Time       // a leaky bucket of how often another source took over
	ids     []extensionID
	bytes   int // of payload, since the path was last looked at
}

type extensionID struct{ theirs, ours uint8 }

// A source is one SSRC.
type source struct {
	ssrc     uint32
	section  *section // that it belongs to
	layer    *layer   // nil: not known yet
	of       *source  // whose packets it repeats, of RTX; nil: not known
	media    bool     // media has come, and not only RTX
	last     time.Time
	ended    bool      // it said goodbye
	refused  time.Time // until then it cannot contest a layer
	stats    reception.Counter
	looked   counted      // of stats, when the path was last looked at
	delay    uplink.Delay // of its packets
	newest   newest       // of them, in a section with redundancy
	repairer *repairer    // nil: there is no forward error correction
	report   *senderReport
	waiting  []held // until it has a layer
}

// A senderReport is the last one of a source.
type senderReport struct {
	at  time.Time
	ntp uint64
	rtp uint32
}

// held is a packet that waits.
type held struct {
	at     time.Time
	packet rtp.Packet
}

const (
	// maxSources bounds the SSRCs that a sender may have; those heard least recently
	// make room.
	maxSources = 64
	// What waits until it is known what it is: as many packets as a frame has.
	maxStrays  = 32
	maxWaiting = 128
	maxHeldFor = time.Second
	// layerWait is how long a source of a section with named layers may send without
	// saying which it is.
	layerWait = 300 * time.Millisecond
	// silentAfter is how long nothing has to come of a source for another to take its
	// place at once.
	silentAfter = 500 * time.Millisecond
	// refusedFor is how long a second source of a layer is not looked at again.
	refusedFor = 200 * time.Millisecond
	// nearby is how far from the newest packet of a source one may be that is sent
	// again.
	nearby = 3000
)

func newReceiver(input *cdn.Input, p *Plan) *receiver {
	r := &receiver{input: input, sources: make(map[uint32]*source), warn: func(Drop, uint32, uint8) {}}
	for i := range p.Choices {
		r.addSection(p, i)
	}
	r.declare()
	return r
}

func (r *receiver) addSection(p *Plan, track int) {
	c := &p.Choices[track]
	id := func(uri string) uint8 {
		id, _ := c.Extension(uri)
		return id
	}
	s := &section{
		mid: c.Media.Mid, track: track, choice: c, pt: c.Codec.PT, rtx: c.Codec.RTX, red: redundancy(c.Codec),
		ids:  hopIDs{id(sdp.URIMid), id(sdp.URIRid), id(sdp.URIRepairedRid), id(sdp.URITransportCC)},
		fir:  slices.Contains(c.Codec.Feedback, "ccm fir") && !slices.Contains(c.Codec.Feedback, "nack pli"),
		nack: slices.Contains(c.Codec.Feedback, "nack"),
		fec:  newProtection(c),
	}
	for _, name := range p.Tracks[track].Layers {
		s.layers = append(s.layers, &layer{section: s, name: name})
	}
	if len(c.Media.Rids) == 0 { // packets cannot name its layers
		s.ids.rid, s.ids.repaired = 0, 0
	}
	r.sections = append(r.sections, s)
}

// rtp takes a packet as it came, and reports whether it is authentic.
func (r *receiver) rtp(now time.Time, packet []byte, out *cdn.Arrivals) (authentic bool) {
	p := &r.packet
	n, ok := readHeader(&p.Header, packet)
	if !ok {
		r.drop(Unreadable, 0, 0)
		return false
	}
	payload, ok := r.opener.Open(packet, n)
	if !ok {
		r.stats.Dropped[NotAuthentic]++ // or twice, as networks do
		return false
	}
	if err := r.bound.Sent(now, len(payload)); err != nil {
		r.over = err
		return true
	}
	r.header, r.padded = packet[:n], payload
	if p.Padding {
		if payload, ok = endpoint.Unpadded(payload); !ok {
			r.drop(Unreadable, p.SSRC, p.PayloadType)
			return true
		}
		p.Padding = false
	}
	p.Payload = payload
	r.stats.Packets++
	r.stats.Bytes += uint64(len(packet))
	r.feedback.arrived(now, &p.Header, len(packet))
	r.sort(now, p, out)
	return true
}

// readHeader reads the header of a packet, and returns its length. If header extensions are
// malformed, those ahead of the error are read and the packet is kept (RFC 8285 section 4.1.1).
func readHeader(h *rtp.Header, packet []byte) (n int, ok bool) {
	n, err := h.Unmarshal(packet)
	if err == nil {
		return n, true
	}
	const fixed, profile = 12, 4
	if len(packet) < fixed || !h.Extension {
		return 0, false
	}
	n = fixed + 4*len(h.CSRC) + profile
	if n > len(packet) {
		return 0, false
	}
	n += 4 * int(binary.BigEndian.Uint16(packet[n-2:]))
	return n, n <= len(packet)
}

// sort takes a packet to where it belongs.
func (r *receiver) sort(now time.Time, p *rtp.Packet, out *cdn.Arrivals) {
	s := r.match(now, p)
	if s == nil {
		return
	}
	s.last = now
	switch by := s.section.fec; {
	case p.PayloadType == s.section.rtx && s.section.rtx != 0, by.isRTX(p.PayloadType):
		r.repair(now, s, p, out)
		return
	case by.isFlex(p.PayloadType):
		r.protect(now, s, p, out)
		return
	}
	s.media = true
	rate := s.section.choice.Codec.ClockRate
	s.stats.Received(now, p.SequenceNumber, p.Timestamp, rate)
	s.delay.Packet(now, p.Timestamp, rate)
	r.blocks = r.blocks[:0]
	if p.PayloadType == s.section.red && s.section.red != 0 && !r.unwrap(s.section, p) {
		r.drop(Unreadable, s.ssrc, p.PayloadType)
		return
	}
	if s.section.fec != nil && !r.unprotect(s, p) {
		r.drop(Unreadable, s.ssrc, p.PayloadType)
		return
	}
	if s.stats.IsNewest(p.SequenceNumber) {
		s.ended = false // it sends again, as Chromium does when a layer is switched on again
	}
	if s.layer == nil && !r.place(now, s, p) {
		return
	}
	l := s.layer
	switch {
	case l.source == nil:
		if !r.give(s, l, out) {
			return
		}
	case l.source != s:
		if !r.compete(now, s, p, out) {
			return
		}
	case l.contest != nil:
		r.contested(l, p)
	}
	if s.section.fec.repairs() {
		r.learn(s, p)
		r.writeProtected(now, s, p, out)
		return
	}
	if s.section.red != 0 {
		r.restore(now, s, p, out)
	}
	r.write(now, l, p, out)
}

// write gives a packet to its layer.
func (r *receiver) write(now time.Time, l *layer, p *rtp.Packet, out *cdn.Arrivals) {
	r.ext = r.ext[:0]
	for _, id := range l.ids {
		if data := p.GetExtension(id.theirs); data != nil {
			r.ext = append(r.ext, cdn.Ext{ID: id.ours, Data: data})
		}
	}
	l.bytes += len(p.Payload)
	out.Write(l.input, now, p, r.ext)
}

// give has a source feed a layer from now on, which another may have fed before.
func (r *receiver) give(s *source, l *layer, out *cdn.Arrivals) bool {
	var err error
	before := l.input
	if before == nil {
		l.input, err = r.input.Layer(l.section.track, l.name, r.back(s))
	} else {
		l.input, err = before.Successor(r.back(s))
	}
	if err != nil {
		l.input = before
		r.drop(Refused, s.ssrc, l.section.pt)
		return false
	}
	if before == nil {
		l.ids = l.extensionIDs()
	}
	if before != nil {
		l.countChange(s.last)
	}
	if c := l.contest; c != nil && c.by != s {
		c.by.waiting = nil // by the time that it is written, it would be old
	}
	if was := l.source; was != nil && was != s {
		was.repairer = nil // it feeds nothing now
	}
	l.source, l.contest, s.layer = s, nil, l
	if s.report != nil {
		l.input.SenderReport(s.report.at, ntp.Time(s.report.ntp), s.report.rtp)
	}
	waiting := s.waiting
	s.waiting = nil
	for i := range waiting {
		r.write(waiting[i].at, l, &waiting[i].packet, out)
	}
	return true
}

// extensionIDs pairs the sender's ids with those of the stream's track, which
// another sender may have declared.
func (l *layer) extensionIDs() (ids []extensionID) {
	for i, uri := range l.input.Track().Info().Extensions {
		if theirs, _ := l.section.choice.Extension(uri); theirs != 0 {
			ids = append(ids, extensionID{theirs: theirs, ours: uint8(i + 1)})
		}
	}
	return ids
}

// repair takes a packet that was sent again by RTX (RFC 4588 section 4).
func (r *receiver) repair(now time.Time, s *source, p *rtp.Packet, out *cdn.Arrivals) {
	r.stats.Repairs++
	if len(p.Payload) < 2 {
		return // padding, by which senders probe
	}
	seq := uint16(p.Payload[0])<<8 | uint16(p.Payload[1])
	l := r.repairs(now, s, seq, p)
	if l == nil {
		return
	}
	inRED := l.section.fec.isRTX(p.PayloadType)
	p.SequenceNumber, p.SSRC, p.PayloadType, p.Payload = seq, l.source.ssrc, l.section.pt, p.Payload[2:]
	if inRED && !l.section.again(p) {
		r.drop(Unreadable, s.ssrc, l.section.fec.REDRTX)
		return
	}
	r.write(now, l, p, out)
}

// repairs returns the layer whose packet seq an RTX source repeats, nil: that is
// not known.
func (r *receiver) repairs(now time.Time, s *source, seq uint16, p *rtp.Packet) *layer {
	near := func(l *layer) bool { return l.source != nil && l.source.stats.IsNear(seq, nearby) }
	if s.layer == nil {
		s.layer = r.repairedLayer(s, p, near)
	}
	l := s.layer
	if l == nil || l.source == nil {
		r.drop(Unmatched, s.ssrc, p.PayloadType)
		return nil
	}
	if s.of != l.source {
		// Another source feeds the layer by now: what is still sent again of the one
		// before would wreck its numbers.
		if stale := s.of != nil && now.Sub(s.of.last) < silentAfter; stale || !near(l) {
			r.stats.Dropped[Superseded]++
			return nil
		}
		s.of = l.source
	}
	return l
}

// repairedLayer finds the layer of an RTX source: by what it says, by there being
// one alone, or by its numbers.
func (r *receiver) repairedLayer(s *source, p *rtp.Packet, near func(*layer) bool) *layer {
	if name := p.GetExtension(s.section.ids.repaired); s.section.ids.repaired != 0 && len(name) > 0 {
		return s.section.named(string(name))
	}
	if len(s.section.layers) == 1 {
		return s.section.layers[0]
	}
	var found *layer
	for _, l := range s.section.layers {
		if near(l) {
			if found != nil {
				return nil // later packets may tell
			}
			found = l
		}
	}
	return found
}

// named returns the layer of that name, nil: there is none.
func (s *section) named(name string) *layer {
	for _, l := range s.layers {
		if l.name == name {
			return l
		}
	}
	return nil
}

// hold keeps a copy of a packet.
func hold(now time.Time, p *rtp.Packet) held { return held{now, *p.Clone()} }

// drop counts a packet that is not taken, and says so once and then seldom.
func (r *receiver) drop(reason Drop, ssrc uint32, pt uint8) {
	r.stats.Dropped[reason]++
	r.warn(reason, ssrc, pt)
}
