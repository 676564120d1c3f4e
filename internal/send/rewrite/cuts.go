package rewrite

import "slices"

const (
	// keptPieces is how many pieces are kept, for NACKs: those of two seconds, if one
	// of two frames is left out at 60 frames a second.
	keptPieces = 64
	// keptVoids is how many numbers are kept that nothing was sent as.
	keptVoids = 16
)

// A piece is a stretch of a span of which nothing was left out. It lasts until the number
// with which the next one begins.
type piece struct {
	from uint64 // first source number
	as   uint64 // the number that it is sent as
	left uint32 // frames of the span that were left out ahead of it
}

// cuts are what was left out of the spans that are kept.
type cuts struct {
	pieces []piece // ahead of the present one, by number; of spans with one piece only: none
	floor  uint64  // lower numbers are forgotten
	voids  [keptVoids]uint64
	voided int
}

// Omit leaves packet seq of the present span out: those behind it get the numbers that
// they would have if it did not exist. frames is 1 for the first packet of a frame that is
// left out, and 0 for all others. What is missing ahead of it keeps its numbers.
//
// If a number that was kept for the packet can not be given up, since a higher one was
// sent, Omit returns it: then nothing that the receiver has missed has this number, and it
// has to be told so.
func (r *Rewriter[S]) Omit(seq uint64, frames uint32) (void uint64, ok bool) {
	if r.n == 0 {
		return 0, false
	}
	if r.cuts == nil {
		r.cuts = &cuts{pieces: make([]piece, 0, keptPieces)}
	}
	c, at := r.cuts, len(r.cuts.pieces)
	if seq < r.now.from {
		if at = r.find(seq); at < 0 {
			return 0, false
		}
	}
	p, end := r.piece(at)
	n := p.as + (seq - p.from)
	switch {
	case n >= end:
		return 0, false // it is left out already
	case n <= r.highest:
		// As a number that is forgotten to be void, the packet itself would be sent: other
		// bytes under one number (RFC 3711 section 9.1).
		if c.voided >= keptVoids {
			c.floor = max(c.floor, c.voids[c.voided%keptVoids]+1)
		}
		c.voids[c.voided%keptVoids] = n
		c.voided++
		return n, true
	}
	next := piece{from: seq + 1, as: n, left: p.left + frames}
	switch {
	case at < len(c.pieces):
		r.cut(at, next, frames)
	case n == p.as: // nothing has a number of the piece
		r.now = next
	default:
		c.push(r.now)
		r.now = next
	}
	return 0, false
}

// Cut reports whether anything was ever left out.
func (r *Rewriter[S]) Cut() bool { return r.cuts != nil }

// Void reports whether Omit has returned a number lately.
func (r *Rewriter[S]) Void(as uint64) bool {
	return r.cuts != nil && slices.Contains(r.cuts.voids[:], as)
}

// Left returns how many frames were left out ahead of number as, since its span began.
func (r *Rewriter[S]) Left(as uint64) uint32 {
	if as >= r.now.as || r.cuts == nil {
		return r.now.left
	}
	if s := r.spanOf(as); s != nil {
		return r.pieceOf(s.as, as).left
	}
	return 0
}

// mapLate is Map for a packet ahead of the present piece.
func (r *Rewriter[S]) mapLate(seq uint64) (as uint64, ok bool) {
	if r.cuts == nil {
		return 0, false
	}
	at := r.find(seq)
	if at < 0 {
		return 0, false
	}
	p, end := r.piece(at)
	as = p.as + (seq - p.from)
	return as, as < end
}

// find returns the piece of the present span, ahead of the newest, that packet seq would be
// in; -1: there is none, or not any more.
func (r *Rewriter[S]) find(seq uint64) int {
	c := r.cuts
	for i := len(c.pieces) - 1; i >= 0 && c.pieces[i].as >= r.span.as; i-- {
		if seq >= c.pieces[i].from {
			return i
		}
	}
	return -1
}

// piece returns a piece by its index, of which the one behind the last is the present one,
// and the number with which it ends.
func (r *Rewriter[S]) piece(i int) (p piece, end uint64) {
	switch pieces := r.cuts.pieces; {
	case i >= len(pieces):
		return r.now, 1<<64 - 1
	case i == len(pieces)-1:
		return pieces[i], r.now.as
	default:
		return pieces[i], pieces[i+1].as
	}
}

// pieceOf returns the piece that number as was sent in, of a span that begins with number
// first. If the span was not cut, it is the zero piece.
func (r *Rewriter[S]) pieceOf(first, as uint64) piece {
	if first == r.span.as && as >= r.now.as {
		return r.now
	}
	for i := len(r.cuts.pieces) - 1; i >= 0 && r.cuts.pieces[i].as >= first; i-- {
		if p := r.cuts.pieces[i]; as >= p.as {
			return p
		}
	}
	return piece{}
}

// cut leaves one packet of piece at out, behind which next begins. Nothing was sent yet
// with its number, or a higher one.
func (r *Rewriter[S]) cut(at int, next piece, frames uint32) {
	c := r.cuts
	for i := at + 1; i < len(c.pieces); i++ {
		c.pieces[i].as--
		c.pieces[i].left += frames
	}
	r.now.as--
	r.now.left += frames
	if _, end := r.piece(at); next.as < end { // it was not the last one of its piece
		c.pieces = slices.Insert(c.pieces, at+1, next)
		c.trim()
	}
}

func (c *cuts) push(p piece) {
	c.pieces = append(c.pieces, p)
	c.trim()
}

// trim forgets the oldest pieces.
func (c *cuts) trim() {
	if n := len(c.pieces) - keptPieces + 1; n > 0 {
		c.floor = max(c.floor, c.pieces[n].as)
		c.pieces = slices.Delete(c.pieces, 0, n)
	}
}

// close ends a span with its last piece. whole is the piece that the span would be if it had
// not been cut. Numbers above highest were never sent.
func (c *cuts) close(last, whole piece, highest uint64) {
	if last != whole {
		c.pieces = append(c.pieces, last)
	}
	for len(c.pieces) > 0 && c.pieces[len(c.pieces)-1].as > highest {
		c.pieces = c.pieces[:len(c.pieces)-1]
	}
	c.trim()
}
