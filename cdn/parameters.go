package cdn

import (
	"cmp"
	"slices"
	"time"

	"github.com/deltacdn/delta/cdn/internal/ring"
	"github.com/deltacdn/delta/internal/rtp/codec"
)

// maxParameters bounds the packets with parameter sets that are kept of a layer.
const maxParameters = 8

// parameters are packets with nothing but parameter sets (H.264, H.265, AV1), in the
// order in which they came. They are not changed.
type parameters []parameterPacket

type parameterPacket struct {
	packet *Packet
	kinds  codec.Sets
	place  uint64 // number of the packet that the sets came in, by which they are ordered
}

// with returns the sets with a newer packet, which replaces those of its kinds
// that came with an older timestamp. The sets of one frame may come in several
// packets.
func (old parameters) with(p parameterPacket) parameters {
	now, covered := parameters{p}, p.kinds
	for _, q := range old {
		if q.packet.Timestamp == p.packet.Timestamp {
			covered |= q.kinds
		}
	}
	for i := len(old) - 1; i >= 0 && len(now) < maxParameters; i-- {
		q := old[i]
		if q.place == p.place || q.packet.Timestamp != p.packet.Timestamp && q.kinds&^covered == 0 {
			continue
		}
		now = append(now, q)
	}
	slices.SortFunc(now, func(a, b parameterPacket) int { return cmp.Compare(a.place, b.place) })
	return now
}

// cutOut is set in the numbers of packets that were cut out of others, and in no number of
// media. If a cut-out packet had the number of the whole one, a receiver that asks for either
// again might be sent the other. Without RTX these would be two payloads under one number,
// which gives away the keys (RFC 3711 section 9.1).
const cutOut = 1 << 63

// keepParameters notes the parameter sets of a packet that was stored.
func (l *Layer) keepParameters(p *Packet, info codec.Info) {
	sets := codec.ParameterSets(l.track.info.Codec.MimeType, p.Payload, info)
	if sets == nil {
		return
	}
	newest := parameterPacket{packet: p, kinds: info.Parameters, place: p.Seq}
	if info.Mixed {
		only := *p
		only.Seq, only.Payload, only.Marker, only.Keyframe = cutOut|p.Seq, sets, false, false
		newest.packet = &only
	}
	all := l.knownSets().with(newest)
	l.parameters.Store(&all)
}

// knownSets returns the newest parameter sets.
func (l *Layer) knownSets() parameters {
	if sets := l.parameters.Load(); sets != nil {
		return *sets
	}
	return nil
}

// parametersAhead returns the parameter sets that a decoder needs for a frame
// that came without: its first packet is given. They are to be sent ahead of it,
// with its timestamp.
func (l *Layer) parametersAhead(first *Packet) (ahead []*Packet) {
	all := l.knownSets()
	var own codec.Sets // that the frame brings
	for _, s := range all {
		if s.packet.Timestamp == first.Timestamp {
			own |= s.kinds
		}
	}
	for _, s := range all {
		if s.place < first.Seq && s.packet.Timestamp != first.Timestamp && s.kinds&^own != 0 {
			ahead = append(ahead, s.packet)
		}
	}
	return ahead
}

// Prefix returns what a receiver that begins at keyframe p needs ahead of it, in
// that order: parameter sets that the frame came without, and the frame's own packets
// ahead of p. All go with the timestamp of p.
func (l *Layer) Prefix(p *Packet) (all []*Packet) {
	first := p
	for q := l.ring.Lookup(first.Seq - 1); q != nil && q.Timestamp == p.Timestamp; q = l.ring.Lookup(first.Seq - 1) {
		first = (*Packet)(q)
		all = append(all, first)
	}
	slices.Reverse(all)
	return append(l.parametersAhead(first), all...)
}

// parameterSets are those that an input has brought while it waits for a keyframe
// with which to take its layer.
type parameterSets struct {
	payloads [][]byte
	kinds    []codec.Sets
	ts       uint64 // of the newest
}

// declaredSets returns the parameter sets that a track's format has in its parameters, and none
// for a track of several layers: the parameters do not say which layer they belong to.
func declaredSets(info TrackInfo) (s parameterSets) {
	if len(info.Layers) > 1 {
		return s
	}
	s.payloads, s.kinds = codec.DeclaredSets(info.Codec.MimeType, info.Codec.Fmtp)
	n := min(len(s.kinds), maxParameters)
	s.payloads, s.kinds = s.payloads[:n], s.kinds[:n]
	return s
}

func (s parameterSets) clone() parameterSets {
	return parameterSets{payloads: slices.Clone(s.payloads), kinds: slices.Clone(s.kinds), ts: s.ts}
}

// declaredRounds is after how many splices the numbers of declared sets are used again. All are
// far below those of media, which begin at 1<<16.
const declaredRounds = 2048

// parameters returns the sets as packets, nil if there are none. Their numbers are lower than
// those of all media, and others after each splice: a receiver that asks for a packet again must
// not get other bytes under its number (RFC 3711 section 9.1).
func (s parameterSets) parameters(now time.Time, splices uint64) *parameters {
	if len(s.kinds) == 0 {
		return nil
	}
	var all parameters
	next := splices % declaredRounds * maxParameters
	for i, payload := range s.payloads {
		next++
		all = append(all, parameterPacket{
			packet: &Packet{Seq: next, Arrival: now, Payload: payload}, kinds: s.kinds[i], place: next,
		})
	}
	return &all
}

// keepSets notes the parameter sets of a packet that is not stored.
func (li *LayerInput) keepSets(in *incoming) {
	ts, info := in.ts, in.info
	sets := codec.ParameterSets(li.layer.track.info.Codec.MimeType, in.packet.Payload, info)
	if sets == nil {
		return
	}
	s := &li.splice.sets
	if ts != s.ts {
		for i := len(s.kinds) - 1; i >= 0; i-- {
			if s.kinds[i]&^info.Parameters == 0 {
				s.payloads, s.kinds = slices.Delete(s.payloads, i, i+1), slices.Delete(s.kinds, i, i+1)
			}
		}
	}
	s.ts = ts
	if len(s.payloads) < maxParameters {
		s.payloads, s.kinds = append(s.payloads, slices.Clone(sets)), append(s.kinds, info.Parameters)
	}
}

// storeSets puts the parameter sets that came ahead of the keyframe with which
// the input has just taken its layer into the ring, ahead of it and with its
// timestamp. What the keyframe's first packet brings itself is left out.
func (li *LayerInput) storeSets(in *incoming) {
	l, sets := li.layer, li.splice.sets
	li.splice.sets = parameterSets{}
	if !l.out.started {
		return
	}
	for i, payload := range sets.payloads {
		if sets.kinds[i]&^in.info.Parameters == 0 {
			continue
		}
		stored := l.ring.Append(ring.Packet{
			Seq: l.out.seq + 1, Timestamp: li.splice.shift.at(in.ts), Arrival: in.at, Payload: payload,
		})
		l.keepParameters((*Packet)(stored), codec.Info{Parameters: sets.kinds[i]})
		l.out.seq++
		li.splice.shift.seq++
	}
}
