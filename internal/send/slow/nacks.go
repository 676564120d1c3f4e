package slow

import "time"

const (
	rateBuckets  = 8
	rateBucket   = 250 * time.Millisecond // two seconds in all: a keyframe does not stand out
	packetBytes  = 1100                   // of a typical video packet
	highNacks    = 0.30                   // of the packets sent: more than repairs of any sane path
	someNacks    = 0.15
	leastPackets = 30 // in the two seconds; the share of fewer says little
)

// nacks is how much is sent, and which share of it is asked for again. A packet that is
// asked for twice counts twice.
type nacks struct {
	bytes, packets [rateBuckets]int
	newest         int64     // number of the newest bucket since the beginning of time
	began          time.Time // of what the buckets hold
	sumBytes       int
	sumPackets     int

	high, some spell
}

func (n *nacks) sent(now time.Time, bytes int) {
	n.roll(now)
	n.bytes[n.newest%rateBuckets] += bytes
	n.sumBytes += bytes
}

func (n *nacks) nacked(now time.Time, packets int) {
	n.roll(now)
	n.packets[n.newest%rateBuckets] += packets
	n.sumPackets += packets
}

func (n *nacks) roll(now time.Time) {
	to := now.UnixNano() / int64(rateBucket)
	if to-n.newest > rateBuckets {
		*n = nacks{newest: to, began: now, high: n.high, some: n.some}
	}
	for n.newest < to {
		n.newest++
		i := n.newest % rateBuckets
		n.sumBytes -= n.bytes[i]
		n.sumPackets -= n.packets[i]
		n.bytes[i], n.packets[i] = 0, 0
	}
}

// rate returns what was sent lately, in bits a second.
func (n *nacks) rate(now time.Time) float64 {
	n.roll(now)
	held := min(now.Sub(n.began), (rateBuckets-1)*rateBucket+time.Duration(now.UnixNano()%int64(rateBucket)))
	return float64(n.sumBytes) * 8 / max(held, rateBucket).Seconds()
}

func (n *nacks) judge(now time.Time) {
	n.roll(now)
	sent := float64(n.sumBytes) / packetBytes
	n.high.set(now, sent >= leastPackets && float64(n.sumPackets) >= highNacks*sent)
	n.some.set(now, sent >= leastPackets && float64(n.sumPackets) >= someNacks*sent)
}

// forget drops what was asked for so far.
func (n *nacks) forget() {
	*n = nacks{newest: n.newest, began: n.began, bytes: n.bytes, sumBytes: n.sumBytes}
}
