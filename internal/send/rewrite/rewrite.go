// Package rewrite gives one receiver's packets their sequence numbers. A receiver
// sees one sequence without gaps, though it is sent now one layer and now another,
// some frames are left out, and nothing at all is sent while it is paused.
package rewrite

// kept is how many spans are kept beside the present one, for NACKs.
const kept = 7

// A Rewriter maps the sequence numbers of layers to those of one receiver. Both are
// extended to 64 bits. A span is a stretch of one layer that is sent without
// interruption, and S is what the caller has to know of it to send its packets again.
// The zero value is ready for Start. It is not safe for concurrent use. It allocates for its
// first spans, and for the first packet that is left out: most receivers need few of them.
type Rewriter[S any] struct {
	highest uint64
	forgot  uint64 // what was sent up to this number is not known any more
	now     piece  // the newest of the present span
	n       int    // spans started
	cuts    *cuts  // nil: nothing was left out
	span    span[S]
	past    []span[S] // by number modulo kept
}

type span[S any] struct {
	from   uint64 // first source number
	as     uint64 // the number that it is sent as
	source S
}

// Start begins a span of source at its packet seq, which gets the number that follows
// the highest sent. The very first number is below 2^15, as RFC 3711 section 3.3.1
// wants it: were the 16 bits to wrap while a receiver has got nothing yet, it would
// never learn of the rollover.
func (r *Rewriter[S]) Start(source S, seq uint64) {
	next := span[S]{from: seq, as: r.highest + 1, source: source}
	if r.n == 0 {
		next.as = 1<<16 | seq&0x7fff
	} else {
		r.keep((r.n-1)%kept, r.span)
	}
	if r.cuts != nil {
		r.cuts.close(r.now, piece{from: r.span.from, as: r.span.as}, r.highest)
	}
	r.span, r.now = next, piece{from: next.from, as: next.as}
	r.n++
}

// keep keeps a span at its place, which is at most one behind those that are taken.
func (r *Rewriter[S]) keep(place int, s span[S]) {
	if place == len(r.past) {
		r.past = append(r.past, s)
	} else {
		r.past[place] = s
	}
}

// Map returns the number with which packet seq of the present span is sent. It is
// false for a packet that is older than the span, or was left out.
func (r *Rewriter[S]) Map(seq uint64) (as uint64, ok bool) {
	if r.n == 0 || seq < r.now.from {
		if as, ok = r.mapLate(seq); !ok {
			return 0, false
		}
	} else {
		as = r.now.as + (seq - r.now.from)
	}
	r.highest = max(r.highest, as)
	return as, true
}

// Highest returns the highest number sent; 0: none.
func (r *Rewriter[S]) Highest() uint64 { return r.highest }

// Forget forgets what was sent so far: Source returns false for it. Packets that come late
// are sent all the same.
func (r *Rewriter[S]) Forget() { r.forgot = r.highest }

// Source returns which packet was sent as number as; false: none was, or too long ago.
func (r *Rewriter[S]) Source(as uint64) (source S, seq uint64, ok bool) {
	if as > r.highest || as <= r.forgot {
		return source, 0, false
	}
	s := r.spanOf(as)
	if s == nil {
		return source, 0, false
	}
	at := piece{from: s.from, as: s.as}
	if r.cuts != nil {
		if as < r.cuts.floor {
			return source, 0, false
		}
		if p := r.pieceOf(s.as, as); p.as != 0 {
			at = p
		}
	}
	return s.source, at.from + (as - at.as), true
}

// spanOf returns the span that number as was sent in, nil: it is not kept.
func (r *Rewriter[S]) spanOf(as uint64) *span[S] {
	for i := r.n - 1; i >= 0 && i >= r.n-1-kept; i-- {
		s := &r.span
		if i != r.n-1 {
			s = &r.past[i%kept]
		}
		if as >= s.as {
			return s
		}
	}
	return nil
}
