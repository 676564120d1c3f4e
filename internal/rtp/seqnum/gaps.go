package seqnum

// maxRanges bounds what a Gaps remembers: numbers that are further back than
// so many removals are treated as removed.
const maxRanges = 64

// Gaps renumbers a sequence so that removed packets leave no gap. Numbers that
// were overtaken keep the offset that held in their place, so reordering does
// no harm (a running delta would give two packets one number). The zero value
// is ready. It is not safe for concurrent use.
type Gaps struct {
	base   uint64            // removals that have left the table
	ranges [maxRanges]uint64 // ring of removals, ascending
	first  int
	n      int
	floor  uint64 // below it, nothing is known
	newest uint64 // highest number mapped or removed
}

// Remove takes seq out of the sequence, and reports whether it could: a number
// below one that was mapped already has to stay, since what follows it has gone
// out with its number.
func (g *Gaps) Remove(seq uint64) bool {
	if seq <= g.newest {
		return false
	}
	g.newest = seq
	if g.n == maxRanges {
		g.floor = g.ranges[g.first] + 1
		g.base++
		g.first = (g.first + 1) % maxRanges
		g.n--
	}
	g.ranges[(g.first+g.n)%maxRanges] = seq
	g.n++
	return true
}

// Map returns the new number of seq. It is false where seq was removed, or
// lies so far back that its place is not known any more.
func (g *Gaps) Map(seq uint64) (uint64, bool) {
	g.newest = max(g.newest, seq)
	if seq < g.floor {
		return 0, false
	}
	for i := g.n - 1; i >= 0; i-- {
		at := g.ranges[(g.first+i)%maxRanges]
		if at == seq {
			return 0, false
		}
		if at < seq {
			return seq - g.base - uint64(i) - 1, true
		}
	}
	return seq - g.base, true
}
