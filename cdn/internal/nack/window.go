package nack

// A window remembers which of the newest numbers have come. Numbers that it
// has not reached and numbers that were left out look alike: not seen.
type window struct {
	bits []uint64 // bit n%size: number n has come; a power of two of words
}

// wordBits is how many numbers one word of the bitmap holds.
const wordBits = 64

func newWindow(words int) window { return window{bits: make([]uint64, words)} }

// size is how many numbers are remembered.
func (w *window) size() uint64 { return uint64(len(w.bits)) * wordBits }

func (w *window) seen(seq uint64) bool {
	return w.bits[w.word(seq)]>>(seq%wordBits)&1 != 0
}

func (w *window) mark(seq uint64) { w.bits[w.word(seq)] |= 1 << (seq % wordBits) }

func (w *window) word(seq uint64) uint64 { return seq / wordBits & uint64(len(w.bits)-1) }

// advance makes room for the numbers after from up to to.
func (w *window) advance(from, to uint64) {
	if to-from >= w.size() {
		clear(w.bits)
		return
	}
	for n := from + 1; n <= to; n++ {
		w.bits[w.word(n)] &^= 1 << (n % wordBits)
	}
}
