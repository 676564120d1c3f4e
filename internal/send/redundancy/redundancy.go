// Package redundancy decides whether sound needs redundancy (RFC 2198). Sound is not asked for
// again: a packet that its path loses is heard as a gap, unless the next one brings it, too.
package redundancy

const (
	// window is of how many packets a judgement is at least.
	window = 100
	// lasting is the score from which on losses last: windows with losses less those without. A
	// window with plain losses counts as two.
	lasting = 2
	plain   = 1e-2
	// ends is how many packets must come without a loss until no redundancy is needed any more:
	// about half a minute of sound.
	ends = 1500
)

// A Need is that of one receiver's sound. Its zero value is that of a path without losses. It is
// not safe for concurrent use.
type Need struct {
	packets uint32  // of the present window
	clean   uint32  // since the last loss
	lost    float32 // of the present window
	score   uint8
	on      bool
}

// On reports whether sound is to have redundancy.
func (n *Need) On() bool { return n.on }

// Report takes a report of the receiver about so many packets, of which a part was lost. What is
// lost while a queue stands on the path is no property of the path, and more would make it worse.
// Report returns whether the need has changed.
func (n *Need) Report(packets uint64, part float64, queued bool) (changed bool) {
	before := n.on
	if packets = min(packets, ends); queued || packets == 0 {
		return false
	}
	n.packets += uint32(packets)
	n.lost += float32(part * float64(packets))
	if n.clean = min(n.clean+uint32(packets), ends); part > 0 {
		n.clean = 0
	}
	if n.packets >= window {
		n.judge()
	}
	if n.clean >= ends {
		n.on = false
	}
	return n.on != before
}

// judge ends a window.
func (n *Need) judge() {
	switch {
	case n.lost == 0:
		n.score -= min(n.score, 1)
	case n.lost < plain*float32(n.packets):
		n.score++
	default:
		n.score += 2
	}
	n.score = min(n.score, 2*lasting)
	n.on = n.on || n.score >= lasting
	n.packets, n.lost = 0, 0
}
