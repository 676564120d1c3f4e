package control

import (
	"math"
	"time"
)

// probe watches over the other side being there. While media travels, its death
// is noticed within deadCarrying, otherwise within deadIdle; on a path whose
// round trip is long, within three of them, and while it is not known, within
// what the longest may need.
//
// A side that has not heard anything for an interval asks for a sign of life. It
// asks every urgently once two intervals have passed, so that what the path loses
// by chance is no death: with a loss of 5 % each way, one in ten questions stays
// without an answer, and a dozen are asked.
//
// An idle link costs two to four datagrams each way a second: a question every
// half second, which the other side answers and need not ask itself, but for
// measuring. One that carries media has a question a second each way if media
// flows both ways, and a dozen if there is silence in one direction.
type probe struct {
	heard      time.Time // the last sign of life
	unanswered int       // pings that went out since then
	excused    int       // how often this side was held up since then
	carrying   bool
	since      time.Time           // that carrying is so
	asked      time.Time           // when the last ping went out
	next       uint64              // id of the next one
	confirmed  time.Time           // when the latest ping went out that was answered
	swept      uint64              // of those before none is open
	open       [openPings]question // by id
	pending    bool                // a ping is to be sent
	loss       float64
	pongs      []uint64 // to be sent

	load   float64 // ours
	theirs float64
	told   uint64 // one more than the id of the ping that told it; 0: the hello did
}

// question is a ping that went out.
type question struct {
	id   uint64
	at   time.Time
	open bool
}

const (
	deadCarrying     = 500 * time.Millisecond
	deadIdle         = 2 * time.Second
	intervalCarrying = 100 * time.Millisecond
	intervalIdle     = 500 * time.Millisecond
	urgently         = 25 * time.Millisecond
	// measureEvery is how often the round trip is measured whatever is heard.
	measureEvery = time.Second
	// leastAsked is how often the other side must have been asked before it counts
	// as lost: if this side was held up itself, what it would have heard waits to
	// be read.
	leastAsked = 4
	// mostExcused is how often in a row silence is put down to this side being held
	// up: one that always is must notice deaths, too.
	mostExcused = 4
	openPings   = 64
	maxPongs    = 16
)

// alive notes a sign of life. It may be called many times with the same one.
func (p *probe) alive(now time.Time) {
	if now.After(p.heard) {
		p.heard, p.unanswered, p.excused = now, 0, 0
	}
}

// excuse has the other side's silence count from now on.
func (p *probe) excuse(now time.Time) {
	if p.excused < mostExcused && now.After(p.heard) {
		p.heard, p.unanswered = now, 0
		p.excused++
	}
}

func (p *probe) interval() time.Duration {
	if p.carrying {
		return intervalCarrying
	}
	return intervalIdle
}

// dead returns when the other side counts as lost; zero if it was not asked often
// enough.
func (p *probe) dead(r rtt) time.Time {
	if p.unanswered < leastAsked {
		return time.Time{}
	}
	limit, from := deadIdle, p.heard
	if p.carrying {
		limit, from = deadCarrying, later(p.heard, p.since)
	}
	if most := 4 * limit; r.known {
		limit = max(limit, min(3*r.smooth, most))
	} else {
		limit = most
	}
	return from.Add(limit)
}

// due returns when the next ping is.
func (p *probe) due() time.Time {
	every := p.interval()
	regular := later(p.heard, p.asked).Add(every)
	urgent := later(p.heard.Add(2*every), p.asked.Add(urgently))
	return earlier(earlier(regular, urgent), p.asked.Add(measureEvery))
}

// ask returns the ping that goes out now.
func (p *probe) ask(now time.Time) ping {
	slot := &p.open[p.next%openPings]
	if slot.open {
		p.lost(true)
	}
	*slot = question{id: p.next, at: now, open: true}
	p.asked, p.pending = now, false
	p.unanswered++
	p.next++
	return ping{id: slot.id, load: uint64(math.Round(p.load * 1000)), loaded: true}
}

// answered takes a pong, and returns the round trip.
func (p *probe) answered(now time.Time, pong ping) (time.Duration, bool) {
	slot := &p.open[pong.id%openPings]
	if !slot.open || slot.id != pong.id {
		return 0, false
	}
	slot.open = false
	p.lost(false)
	p.confirmed = later(p.confirmed, slot.at)
	return now.Sub(slot.at), true
}

func (p *probe) lost(yes bool) {
	const weight = 1.0 / 32
	p.loss *= 1 - weight
	if yes {
		p.loss += weight
	}
}

// sweep counts the pings as lost that nobody will answer any more.
func (p *probe) sweep(now time.Time) {
	for ; p.swept < p.next; p.swept++ {
		s := &p.open[p.swept%openPings]
		if !s.open || s.id != p.swept {
			continue // answered, or another has its place
		}
		if now.Sub(s.at) <= deadIdle {
			return
		}
		s.open = false
		p.lost(true)
	}
}

// asks takes a ping. One that was overtaken tells an old load.
func (p *probe) asks(q ping) {
	if len(p.pongs) < maxPongs {
		p.pongs = append(p.pongs, q.id)
	}
	if q.loaded && q.id >= p.told {
		p.theirs, p.told = share(float64(q.load)/1000), q.id+1
	}
}

// share returns a load as one from 0 to 1.
func share(load float64) float64 {
	if !(load > 0) { // not a number, too
		return 0
	}
	return min(load, 1)
}
