package receive

import (
	"strings"
	"time"

	"github.com/pion/rtp"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/endpoint"
	"github.com/deltacdn/delta/internal/rtp/codec"
	"github.com/deltacdn/delta/internal/rtp/fec"
	"github.com/deltacdn/delta/internal/rtp/red"
	"github.com/deltacdn/delta/internal/sdp"
)

// This is video with forward error correction: what it repairs is repaired here, and the
// stream has plain media.

// A protection is what the offer has of a section. What was not agreed on should not come:
// if it does, media are taken out of RED all the same, and packets of correction leave no
// gap.
type protection struct {
	sdp.FEC
	agreed      bool
	format      fec.Format // of FlexFEC
	unprotected []fec.Extension
	inspect     codec.Inspector // nil: nothing is known of frames
}

const (
	uriVideoTiming = "http://www.webrtc.org/experiments/rtp-hdrext/video-timing"
	// timingProtected are the bytes of the video timing extension that a sender knows
	// ahead of its pacer.
	timingProtected = 7
)

// newProtection returns nil where nothing was offered.
func newProtection(c *sdp.Choice) *protection {
	if !c.Media.FEC.Any() {
		return nil
	}
	p := &protection{FEC: c.Media.FEC, format: fec.Flex}
	if !c.FEC.Any() {
		return p
	}
	p.FEC, p.agreed = c.FEC, true
	if mime := strings.ToLower(c.Codec.MimeType); mime != "video/h264" && mime != "video/h265" {
		p.inspect = codec.For(c.Codec.MimeType) // of those, what begins a slice may stand behind parameter sets
	}
	if c.FEC.FlexName == sdp.FlexFEC03 {
		p.format = fec.Flex03
	}
	for uri, from := range map[string]int{sdp.URITransportCC: 0, uriVideoTiming: timingProtected} {
		if id, _ := c.Extension(uri); id != 0 {
			p.unprotected = append(p.unprotected, fec.Extension{ID: id, From: from})
		}
	}
	return p
}

// carries reports whether a payload type is one of forward error correction.
func (p *protection) carries(pt uint8) bool {
	return p != nil && pt != 0 && (pt == p.RED || pt == p.REDRTX || pt == p.ULP || pt == p.Flex)
}

// repairs reports whether what is lost is repaired.
func (p *protection) repairs() bool { return p != nil && p.agreed }

// isFlex reports whether a payload type is of packets that are about another SSRC.
func (p *protection) isFlex(pt uint8) bool { return p != nil && pt != 0 && pt == p.Flex }

// isRTX reports whether a payload type is of retransmissions of what travels in RED.
func (p *protection) isRTX(pt uint8) bool { return p != nil && pt != 0 && pt == p.REDRTX }

// lift takes a packet out of RED, if it is in that, and reports whether it is of correction.
// ok is false if it cannot be read.
func (s *section) lift(p *rtp.Packet) (parity, ok bool) {
	isRED := p.PayloadType == s.fec.RED && s.fec.RED != 0
	switch {
	case isRED && len(p.Payload) == 0: // padding, by which senders probe
		p.PayloadType = s.pt
	case isRED:
		var memory [4]red.Block
		blocks, err := red.Split(memory[:0], p.Payload)
		if err != nil {
			return false, false
		}
		primary := blocks[len(blocks)-1]
		p.PayloadType, p.Payload = primary.PayloadType, primary.Data
	}
	parity = p.PayloadType == s.fec.ULP && s.fec.ULP != 0
	return parity, parity || p.PayloadType == s.pt
}

// again takes a packet out of RED that was sent again. It is false if it cannot be read.
func (s *section) again(p *rtp.Packet) bool {
	p.PayloadType = s.fec.RED
	parity, ok := s.lift(p)
	if parity {
		p.PayloadType, p.Payload = s.pt, nil
	}
	return ok
}

// unprotect takes the media out of a packet of a protected section. A packet of correction
// becomes one of padding, which leaves no gap. It is false if the packet cannot be read.
func (r *receiver) unprotect(s *source, p *rtp.Packet) bool {
	size := len(p.Payload)
	parity, ok := s.section.lift(p)
	if !ok {
		return false
	}
	r.parity, r.lifted = nil, size-len(p.Payload)
	if !parity {
		return true
	}
	r.parity = p.Payload
	p.PayloadType, p.Payload = s.section.pt, nil
	if f := s.repairer; f != nil && f.newest.known { // so that it is no frame of its own
		p.Timestamp = f.newest.timestamp
	}
	return true
}

// learn keeps what a packet brings for repairs, of a source that feeds its layer: what others
// send takes no memory.
func (r *receiver) learn(s *source, p *rtp.Packet) {
	if s.repairer == nil {
		s.repairer = &repairer{}
	}
	f := s.repairer
	if f.parity = r.parity != nil; !f.parity {
		f.window.Keep(fec.Source{
			Header: r.header, PayloadType: p.PayloadType, Payload: r.padded[r.lifted:], Unprotected: s.section.fec.unprotected,
		})
		return
	}
	about, err := fec.Read(fec.ULP, r.parity)
	if f.about = about.Last(); err == nil {
		f.window.Add(about)
	} else {
		r.drop(Unreadable, s.ssrc, s.section.fec.ULP)
		f.about = p.SequenceNumber
	}
}

// protect takes a packet of FlexFEC, which is about another source.
func (r *receiver) protect(now time.Time, s *source, p *rtp.Packet, out *cdn.Arrivals) {
	if !s.section.fec.repairs() {
		r.drop(PayloadType, s.ssrc, p.PayloadType)
		return
	}
	parity, err := fec.Read(s.section.fec.format, p.Payload)
	if err != nil && len(p.Payload) > 0 {
		r.drop(Unreadable, s.ssrc, p.PayloadType)
	}
	if err != nil {
		return
	}
	ssrc := parity.SSRC
	if ssrc == 0 && len(p.CSRC) == 1 { // RFC 8627 section 4.2.1
		ssrc = p.CSRC[0]
	}
	of := r.sources[ssrc]
	if of == nil || of.section != s.section || of.repairer == nil || !of.feeds() {
		r.drop(Unmatched, s.ssrc, p.PayloadType)
		return
	}
	of.repairer.window.Add(parity)
	for r.rebuild(of) {
		r.writeRepaired(now, of, &r.rebuilt, out)
	}
}

// rebuild has the next packet of a source that was repaired, in r.rebuilt. It is false if
// there is none.
func (r *receiver) rebuild(s *source) bool {
	for raw := s.repairer.window.Next(s.ssrc); raw != nil; raw = s.repairer.window.Next(s.ssrc) {
		p := &r.rebuilt
		*p = rtp.Packet{}
		n, err := p.Header.Unmarshal(raw)
		ok := err == nil && p.PayloadType == s.section.pt && s.repairer.isNear(p, s.section.choice.Codec.ClockRate)
		if p.Payload = raw[min(n, len(raw)):]; ok && p.Padding {
			p.Payload, ok = endpoint.Unpadded(p.Payload)
			p.Padding = false
		}
		if ok {
			return true
		}
		r.drop(Unreadable, s.ssrc, s.section.pt)
	}
	return false
}

// repairedWithin is how far the timestamp of a packet that is repaired can be from the
// newest.
const repairedWithin = 10 // seconds

func (f *repairer) isNear(p *rtp.Packet, rate uint32) bool {
	apart := int64(int32(p.Timestamp - f.newest.timestamp))
	return f.newest.known && max(apart, -apart) <= repairedWithin*int64(rate)
}

// writeProtected writes p, and what it has repaired, in order.
func (r *receiver) writeProtected(now time.Time, s *source, p *rtp.Packet, out *cdn.Arrivals) {
	wrote := false
	for r.rebuild(s) {
		if !wrote && int16(r.rebuilt.SequenceNumber-p.SequenceNumber) > 0 {
			r.writeNext(now, s, p, out)
			wrote = true
		}
		r.writeRepaired(now, s, &r.rebuilt, out)
	}
	if !wrote {
		r.writeNext(now, s, p, out)
	}
}

func (r *receiver) writeRepaired(now time.Time, s *source, p *rtp.Packet, out *cdn.Arrivals) {
	r.stats.Restored++
	s.repairer.note(p, false)
	r.write(now, s.layer, p, out)
}

// writeNext writes p, behind the packets of correction that were lost ahead of it.
func (r *receiver) writeNext(now time.Time, s *source, p *rtp.Packet, out *cdn.Arrivals) {
	f := s.repairer
	for n := f.lostParities(s.section.fec, p); n > 0; n-- {
		lost := rtp.Packet{Header: rtp.Header{Version: 2, PayloadType: p.PayloadType, SSRC: p.SSRC, SequenceNumber: f.newest.seq + 1, Timestamp: f.newest.timestamp}}
		f.note(&lost, true)
		r.write(now, s.layer, &lost, out)
	}
	f.note(p, f.parity)
	r.write(now, s.layer, p, out)
}
