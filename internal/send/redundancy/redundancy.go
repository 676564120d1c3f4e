// Package redundancy decides whether sound needs redundancy (RFC 2198). Receivers do not ask for
// lost sound again: each lost packet is heard as a gap, unless the next packet carries it, too.
package redundancy

const (
	// window is the least number of packets that a judgement is about.
	window = 100
	// lasting is the score from which on there is a need: the windows with losses less those
	// without. A window with plain losses, a part of the packets, counts as two.
	lasting = 2
	plain   = 1e-2
	// ends is how many packets must come without a loss until no redundancy is needed any more:
	// about half a minute of sound.
	ends = 1500
	// crowded is how many packets may be sent into a queue until redundancy ends: about ten
	// seconds of sound. It may be what fills the path.
	crowded = 500
)

// A Need is that of one receiver's sound. Its zero value is that of a path without losses. It is
// not safe for concurrent use.
type Need struct {
	lost    float32 // packets of the present window
	packets uint16  // of the present window
	clean   uint16  // packets since the last loss
	queued  uint16  // packets since a queue stands
	score   uint8
	on      bool
}

// On reports whether sound is to have redundancy.
func (n *Need) On() bool { return n.on }

// Report takes a report of the receiver about so many packets, of which a part was lost. Losses
// while a queue stands on the path are not counted: redundancy would make the queue longer. Report
// returns whether the need has changed.
func (n *Need) Report(packets uint64, part float64, queued bool) (changed bool) {
	before := n.on
	packets = min(packets, ends)
	switch {
	case packets == 0:
		return false
	case queued:
		if n.queued = min(n.queued+uint16(packets), crowded); n.queued == crowded {
			*n = Need{queued: n.queued}
		}
		return n.on != before
	}
	n.queued = 0
	n.packets += uint16(packets)
	n.lost += float32(part * float64(packets))
	if n.clean = min(n.clean+uint16(packets), ends); part > 0 {
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
