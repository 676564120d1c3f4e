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

// parameters are packets with nothing but parameter sets (H.264, H.265, AV1), in
// the order of their numbers, and what kinds of them each has. They are not
// changed.
type parameters struct {
	packets []*Packet
	kinds   []codec.Sets
}

// with returns the sets with a newer packet, which replaces those of its kinds
// that came with an older timestamp. The sets of one frame may come in several
// packets.
func (old *parameters) with(p *Packet, kinds codec.Sets) *parameters {
	now := &parameters{packets: []*Packet{p}, kinds: []codec.Sets{kinds}}
	if old == nil {
		return now
	}
	covered := kinds
	for i, q := range old.packets {
		if q.Timestamp == p.Timestamp {
			covered |= old.kinds[i]
		}
	}
	for i := len(old.packets) - 1; i >= 0 && len(now.packets) < maxParameters; i-- {
		q := old.packets[i]
		if q.Seq == p.Seq || q.Timestamp != p.Timestamp && old.kinds[i]&^covered == 0 {
			continue
		}
		now.packets, now.kinds = append(now.packets, q), append(now.kinds, old.kinds[i])
	}
	order := make([]int, len(now.packets))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(now.packets[a].Seq, now.packets[b].Seq) })
	sorted := &parameters{}
	for _, i := range order {
		sorted.packets, sorted.kinds = append(sorted.packets, now.packets[i]), append(sorted.kinds, now.kinds[i])
	}
	return sorted
}

// keepParameters notes the parameter sets of a packet that was stored.
func (l *Layer) keepParameters(p *Packet, info codec.Info) {
	sets := codec.ParameterSets(l.track.info.Codec.MimeType, p.Payload, info)
	if sets == nil {
		return
	}
	if info.Mixed {
		only := *p
		only.Payload, only.Marker = sets, false
		p = &only
	}
	l.parameters.Store(l.parameters.Load().with(p, info.Parameters))
}

// parametersAhead returns the parameter sets that a decoder needs for a frame
// that came without: its first packet is given. They are to be sent ahead of it,
// with its timestamp.
func (l *Layer) parametersAhead(first *Packet) (ahead []*Packet) {
	sets := l.parameters.Load()
	if sets == nil {
		return nil
	}
	var own codec.Sets // that the frame brings
	for i, p := range sets.packets {
		if p.Timestamp == first.Timestamp {
			own |= sets.kinds[i]
		}
	}
	for i, p := range sets.packets {
		if p.Seq < first.Seq && p.Timestamp != first.Timestamp && sets.kinds[i]&^own != 0 {
			ahead = append(ahead, p)
		}
	}
	return ahead
}

// Prefix returns what a receiver that begins at keyframe p needs ahead of it, in
// the order of their numbers: parameter sets that the frame came without, and
// the frame's own packets ahead of p. All go with the timestamp of p.
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
	all := &parameters{kinds: s.kinds}
	next := splices % declaredRounds * maxParameters
	for _, payload := range s.payloads {
		next++
		all.packets = append(all.packets, &Packet{Seq: next, Arrival: now, Payload: payload})
	}
	return all
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
