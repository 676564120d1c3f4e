package bwe

import (
	"math"
	"time"
)

// The loss that the path has at any rate is learned from windows of a second. More
// than that, by lossMargin and what chance explains, means that the rate is too high.
const (
	lossSlot     = 100 * time.Millisecond
	lossSlots    = 6
	lossMargin   = 0.05
	firstMargin  = 0.10 // until some windows have taught what the path loses
	someWindows  = 4
	lossSigmas   = 3
	leastPackets = 20
	lossLasts    = 200 * time.Millisecond
	learnEvery   = time.Second
	// mostInherent bounds what a path can lose without being congested.
	mostInherent = 0.3
)

// loss follows the part of packets that get lost.
type loss struct {
	slot     int64
	arrived  [lossSlots]uint16
	lost     [lossSlots]uint16
	inherent float64
	learned  time.Duration // when the window of learning began
	windows  int           // that have taught
	total    int           // in that window
	missing  int
	clouded  bool          // the window had congestion in it, and teaches nothing
	rose     time.Duration // when the loss became too high
	high     bool
	// While the window has packets in it that were sent before the estimate was lowered, those
	// sent since are counted separately: the others say nothing of the present rate.
	separate bool
	since    outcomes      // of them
	begun    time.Duration // when the first of them was counted
}

func (l *loss) init() { *l = loss{} }

// add counts packets whose outcome became known at a time: all, and of them those that were
// sent since the estimate was lowered.
func (l *loss) add(at time.Duration, all, since outcomes) {
	if slot := int64(at / lossSlot); slot > l.slot {
		for l.slot = max(l.slot, slot-lossSlots); l.slot < slot; {
			l.slot++
			i := l.slot % lossSlots
			l.arrived[i], l.lost[i] = 0, 0
		}
	}
	i := l.slot % lossSlots
	l.arrived[i] += uint16(all.arrived)
	l.lost[i] += uint16(all.lost)
	l.total += all.total()
	l.missing += all.lost
	if !l.separate || l.since.total()+since.total() == 0 {
		return
	}
	if l.since.total() == 0 {
		l.begun = at
	}
	l.since.add(since)
	l.separate = at-l.begun < lossSlots*lossSlot
}

// lowered notes that the estimate was lowered.
func (l *loss) lowered() { l.separate, l.since = true, outcomes{} }

// forget drops what is known of the present, but not what the path loses.
func (l *loss) forget(at time.Duration) {
	*l = loss{slot: int64(at / lossSlot), inherent: l.inherent, windows: l.windows, learned: at, rose: at}
}

// late takes back that a packet was lost.
func (l *loss) late() {
	i := l.slot % lossSlots
	l.arrived[i]++
	l.lost[i] -= min(1, l.lost[i])
	l.missing = max(0, l.missing-1)
	if l.since.lost > 0 {
		l.since.lost, l.since.arrived = l.since.lost-1, l.since.arrived+1
	}
}

func (l *loss) counts() (total, lost int) {
	for i := range lossSlots {
		total += int(l.arrived[i]) + int(l.lost[i])
		lost += int(l.lost[i])
	}
	return total, lost
}

// ratio returns the part that was lost lately.
func (l *loss) ratio() float64 {
	total, lost := l.counts()
	return float64(lost) / float64(max(total, leastPackets))
}

// judge reports whether more is lost than the path loses anyway. queued says that
// there is a queue: then the present teaches nothing of the path.
func (l *loss) judge(at time.Duration, queued bool) bool {
	total, lost := l.counts()
	if l.separate {
		total, lost = l.since.total(), l.since.lost
	}
	n := float64(max(total, leastPackets))
	ratio, margin := float64(lost)/n, lossMargin
	if l.windows < someWindows {
		margin = firstMargin
	}
	likely := max(0.01, (ratio+l.inherent)/2)
	chance := lossSigmas * math.Sqrt(likely*(1-likely)/n)
	l.clouded = l.clouded || queued
	if l.high = total >= leastPackets && ratio > l.inherent+margin+chance; !l.high {
		l.rose = at
	}
	l.learn(at)
	return l.high && at-l.rose >= lossLasts
}

// learn moves what the path is believed to lose towards what it has lost: down fast,
// up slowly, so that losses of congestion are not taken for the path's.
func (l *loss) learn(at time.Duration) {
	if at-l.learned < learnEvery || l.total < leastPackets {
		return
	}
	if !l.clouded {
		ratio := float64(l.missing) / float64(l.total)
		weight := max(0.2, 1/float64(l.windows+1))
		l.windows++
		if ratio < l.inherent {
			weight = 0.3
		}
		l.inherent = min(l.inherent+weight*(ratio-l.inherent), mostInherent)
	}
	l.learned, l.total, l.missing, l.clouded = at, 0, 0, false
}
