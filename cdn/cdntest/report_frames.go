package cdntest

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// timestampSlack is how far a frame's timestamp may be from where the
// publisher's clock puts it: a splice aligns by arrival.
const timestampSlack = 100 * time.Millisecond

// snapshot returns the track's report with what only all frames together tell.
func (t *receivedTrack) snapshot() TrackReport {
	r := t.report
	r.Frames = slices.Clone(r.Frames)
	r.SenderReports = slices.Clone(r.SenderReports)
	r.Faults = slices.Clone(r.Faults)
	r.Extensions = maps.Clone(r.Extensions)
	r.Missing = t.seen.missing()
	r.Partial, r.Absent = t.incomplete()

	order := make([]*Frame, len(r.Frames))
	for i := range r.Frames {
		order[i] = &r.Frames[i]
	}
	slices.SortStableFunc(order, func(a, b *Frame) int { return cmp.Compare(a.Sequence, b.Sequence) })
	markDecodable(order)
	r.TimestampJumps = timestampJumps(order, r.Codec.ClockRate)
	return r
}

// markDecodable marks the frames, given in order of sequence numbers, that a
// decoder can show.
func markDecodable(frames []*Frame) {
	var layered temporalDecoder
	for i, f := range frames {
		if f.layered {
			f.Decodable = layered.decode(f)
			continue
		}
		if f.Key {
			f.Decodable = true
			continue
		}
		if i == 0 {
			continue
		}
		before := frames[i-1]
		f.Decodable = before.Decodable && before.Seed == f.Seed && before.Layer == f.Layer &&
			before.Number+1 == f.Number
	}
}

// timestampJumps counts the frames, given in order of sequence numbers, whose
// timestamps do not follow from the frame before.
func timestampJumps(frames []*Frame, clockRate uint32) int {
	var jumps int
	for i := 1; i < len(frames); i++ {
		a, b := frames[i-1], frames[i]
		ticks := int64(b.Timestamp - a.Timestamp)
		media := time.Duration(float64(ticks) / float64(clockRate) * float64(time.Second))
		if ticks <= 0 || !b.Rewind && (media-b.Sent.Sub(a.Sent)).Abs() > timestampSlack {
			jumps++
		}
	}
	return jumps
}

// incomplete counts, for each publisher by itself, the frames up to its newest
// whole one that are not whole: those that lack packets, and those of which
// nothing came.
func (t *receivedTrack) incomplete() (partial, absent int) {
	type span struct{ first, last uint32 }
	known := map[uint32]map[uint32]bool{} // seed, number: whole in any layer
	spans := map[uint32]*span{}
	for id, f := range t.partial {
		if known[id.seed] == nil {
			known[id.seed] = map[uint32]bool{}
			spans[id.seed] = &span{first: id.number}
		}
		whole := !f.Done.IsZero()
		known[id.seed][id.number] = known[id.seed][id.number] || whole
		s := spans[id.seed]
		s.first = min(s.first, id.number)
		if whole {
			s.last = max(s.last, id.number)
		}
	}
	for seed, numbers := range known {
		s := spans[seed]
		for n := s.first; n <= s.last; n++ {
			whole, some := numbers[n]
			switch {
			case !some:
				absent++
			case !whole:
				partial++
			}
		}
	}
	return partial, absent
}
