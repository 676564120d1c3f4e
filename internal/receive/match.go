package receive

import (
	"strconv"
	"strings"
	"time"

	"github.com/pion/rtp"

	"github.com/deltacdn/delta/internal/sdp"
)

// match returns the source of a packet, whose section is known, or nil: it is
// dropped, or kept until that is known. RFC 9143 section 9.2: what the SSRC was
// matched with before, unless the packet names its m-section; else a payload type
// that stands in one m-section alone.
func (r *receiver) match(now time.Time, p *rtp.Packet) *source {
	s := r.sources[p.SSRC]
	named, ok := r.namedSection(p)
	if !ok {
		r.drop(Unmatched, p.SSRC, p.PayloadType)
		return nil
	}
	if s != nil && s.section != nil && (named == nil || named == s.section) && s.section.carries(p.PayloadType) {
		return s
	}
	in := named
	if in == nil {
		in = r.sectionOf(p.PayloadType)
	}
	switch {
	case in != nil && !in.carries(p.PayloadType):
		r.drop(PayloadType, p.SSRC, p.PayloadType)
		return nil
	case in == nil && s != nil && s.section != nil, in == nil && !r.known(p.PayloadType):
		r.drop(PayloadType, p.SSRC, p.PayloadType)
		return nil
	case in == nil:
		r.stray(now, p)
		return nil
	}
	return r.moveTo(s, in, p)
}

// namedSection returns the m-section that a packet names, nil: it names none. It is
// false for one that was not accepted.
func (r *receiver) namedSection(p *rtp.Packet) (named *section, ok bool) {
	if !p.Extension {
		return nil, true
	}
	for _, s := range r.sections {
		if s.ids.mid == 0 {
			continue
		}
		if mid := p.GetExtension(s.ids.mid); len(mid) > 0 {
			if string(mid) == s.mid {
				return s, true
			}
			ok = true // it names another
		}
	}
	return nil, !ok
}

// carries reports whether a payload type is one of the section's.
func (s *section) carries(pt uint8) bool {
	return pt == s.pt || pt == s.rtx && s.rtx != 0 || pt == s.red && s.red != 0 || s.fec.carries(pt)
}

// sectionOf returns the one section that carries a payload type, nil: there are
// several, or none.
func (r *receiver) sectionOf(pt uint8) (found *section) {
	for _, s := range r.sections {
		if s.carries(pt) {
			if found != nil {
				return nil
			}
			found = s
		}
	}
	return found
}

func (r *receiver) known(pt uint8) bool {
	for _, s := range r.sections {
		if s.carries(pt) {
			return true
		}
	}
	return false
}

// stray keeps a packet whose SSRC says nothing yet: another packet of it may name
// the m-section.
func (r *receiver) stray(now time.Time, p *rtp.Packet) {
	for len(r.strays) > 0 && (len(r.strays) >= maxStrays || now.Sub(r.strays[0].at) > maxHeldFor) {
		old := &r.strays[0].packet
		r.drop(Unmatched, old.SSRC, old.PayloadType)
		r.strays = append(r.strays[:0], r.strays[1:]...)
	}
	r.strays = append(r.strays, hold(now, p))
}

// moveTo notes that an SSRC, which may be a new one, belongs to a section.
func (r *receiver) moveTo(s *source, in *section, p *rtp.Packet) *source {
	if s == nil {
		s = r.add(p.SSRC)
	}
	r.detach(s)
	s.section, s.layer, s.of, s.waiting, s.refused, s.ended = in, nil, nil, nil, time.Time{}, false
	s.repairer = nil
	rest := r.strays[:0]
	for _, h := range r.strays {
		if h.packet.SSRC != s.ssrc {
			rest = append(rest, h)
		} else if r.plain(in, &h.packet) {
			s.stats.Received(h.at, h.packet.SequenceNumber, h.packet.Timestamp, in.choice.Codec.ClockRate)
			s.waiting = append(s.waiting, h)
		}
	}
	clear(r.strays[len(rest):])
	r.strays = rest
	return s
}

// plain takes media out of what they travel in. It is false if there are none.
func (r *receiver) plain(in *section, p *rtp.Packet) bool {
	switch pt := p.PayloadType; {
	case pt == in.pt:
		return true
	case pt == in.red && in.red != 0:
		return r.unwrap(in, p)
	case in.fec.carries(pt):
		parity, ok := in.lift(p)
		return ok && !parity
	}
	return false
}

// add makes an SSRC known. The one that was silent for longest makes room, of those
// that feed nothing.
func (r *receiver) add(ssrc uint32) *source {
	if len(r.sources) >= maxSources {
		var oldest *source
		for _, s := range r.sources {
			if s.feeds() {
				continue
			}
			if oldest == nil || s.last.Before(oldest.last) {
				oldest = s
			}
		}
		if oldest != nil {
			r.detach(oldest)
			delete(r.sources, oldest.ssrc)
		}
	}
	s := &source{ssrc: ssrc}
	r.sources[ssrc] = s
	return s
}

func (s *source) feeds() bool { return s.layer != nil && s.layer.source == s }

// detach has a source feed nothing any more.
func (r *receiver) detach(s *source) {
	l := s.layer
	if l == nil {
		return
	}
	if l.contest != nil && l.contest.by == s {
		l.contest = nil
	}
	if l.source == s { // its layer is free for the next
		was := *s
		was.ended = true
		l.source = &was
	}
}

// place finds the layer of a source of media, which another may feed. It is false if
// the packet has been dealt with.
func (r *receiver) place(now time.Time, s *source, p *rtp.Packet) bool {
	in := s.section
	name := p.GetExtension(in.ids.rid)
	switch {
	case in.ids.rid != 0 && len(name) > 0:
		if s.layer = in.named(string(name)); s.layer == nil {
			r.drop(UnknownLayer, s.ssrc, p.PayloadType)
			return false
		}
	case len(in.layers) == 1:
		s.layer = in.layers[0]
	case in.ids.rid != 0 && (len(s.waiting) == 0 || now.Sub(s.waiting[0].at) < layerWait) && len(s.waiting) < maxWaiting:
		s.waiting = append(s.waiting, hold(now, p)) // another packet may say it
		return false
	default:
		if s.layer = in.freeLayer(now); s.layer == nil {
			r.drop(SecondSource, s.ssrc, p.PayloadType)
			s.waiting = nil
			return false
		}
	}
	return true
}

// freeLayer returns one that nobody feeds now, nil: there is none.
func (s *section) freeLayer(now time.Time) *layer {
	for _, l := range s.layers {
		if l.source == nil {
			return l
		}
	}
	for _, l := range s.layers {
		if l.contest == nil && l.source.silent(now) {
			return l
		}
	}
	return nil
}

func (s *source) silent(now time.Time) bool { return s.ended || now.Sub(s.last) >= silentAfter }

// declare notes what the offer says of SSRCs (RFC 5576). What packets say counts
// for more.
func (r *receiver) declare() {
	seen := make(map[uint32]*section)
	for _, in := range r.sections {
		for _, ssrc := range declared(in.choice.Media) {
			if other := seen[ssrc]; other != nil && other != in {
				delete(r.sources, ssrc) // two say that it is theirs
				continue
			}
			seen[ssrc] = in
			if s := r.sources[ssrc]; s == nil && len(r.sources) < maxSources {
				r.sources[ssrc] = &source{ssrc: ssrc, section: in}
			}
		}
		for i, ssrc := range group(in.choice.Media, "SIM") {
			if s := r.sources[ssrc]; s != nil && i < len(in.layers) && in.ids.rid == 0 {
				s.layer = in.layers[i]
			}
		}
		for _, fid := range groups(in.choice.Media, "FID") {
			if len(fid) == 2 && r.sources[fid[0]] != nil && r.sources[fid[1]] != nil {
				r.sources[fid[1]].layer = r.sources[fid[0]].layer
			}
		}
	}
}

// declared are the SSRCs of an m-section's a=ssrc lines, each once.
func declared(m *sdp.Media) (all []uint32) {
	seen := make(map[uint32]bool)
	for _, value := range m.Attributes("ssrc") {
		number, _, _ := strings.Cut(value, " ")
		if n, err := strconv.ParseUint(number, 10, 32); err == nil && !seen[uint32(n)] {
			seen[uint32(n)] = true
			all = append(all, uint32(n))
		}
	}
	return all
}

// groups are the SSRC groups of an m-section that have the meaning given.
func groups(m *sdp.Media, meaning string) (all [][]uint32) {
	for _, value := range m.Attributes("ssrc-group") {
		f := strings.Fields(value)
		if len(f) == 0 || f[0] != meaning {
			continue
		}
		var one []uint32
		for _, number := range f[1:] {
			if n, err := strconv.ParseUint(number, 10, 32); err == nil {
				one = append(one, uint32(n))
			}
		}
		all = append(all, one)
	}
	return all
}

// group is the first of them.
func group(m *sdp.Media, meaning string) []uint32 {
	if all := groups(m, meaning); len(all) > 0 {
		return all[0]
	}
	return nil
}
