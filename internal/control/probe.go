package control

import (
	"encoding/binary"
	"time"
)

// probe watches over the other side being there. While media travels, its death
// is noticed within deadCarrying, otherwise within deadIdle; on a path whose
// round trip is long, within three of them.
//
// A side that has not heard anything for an interval asks for a sign of life. It
// asks four times as often once two intervals have passed, so that what the path
// loses by chance is no death: with a loss of 5 % each way, one in ten questions
// stays without an answer, and a dozen are asked. An idle link costs two
// datagrams each way a second.
type probe struct {
	heard    time.Time
	carrying bool
	since    time.Time // that carrying is so
	asked    time.Time // when the last ping went out
	next     uint64
	open     [openPings]ping // by id
	pending  bool            // a ping is to be sent
	loss     float64
	pongs    []uint64 // to be sent
}

type ping struct {
	id   uint64
	at   time.Time
	open bool
}

const (
	deadCarrying     = 500 * time.Millisecond
	deadIdle         = 2 * time.Second
	intervalCarrying = 100 * time.Millisecond
	intervalIdle     = 500 * time.Millisecond
	// measureEvery is how often the round trip is measured whatever is heard.
	measureEvery = time.Second
	openPings    = 64
	maxPongs     = 16
)

func (p *probe) interval() time.Duration {
	if p.carrying {
		return intervalCarrying
	}
	return intervalIdle
}

// dead returns when the other side counts as lost.
func (p *probe) dead(r rtt) time.Time {
	limit, from := deadIdle, p.heard
	if p.carrying {
		limit = deadCarrying
		if p.since.After(from) {
			from = p.since
		}
	}
	if r.known {
		limit = max(limit, 3*r.smooth)
	}
	return from.Add(limit)
}

// due returns when the next ping is.
func (p *probe) due() time.Time {
	every := p.interval()
	regular := later(p.heard, p.asked).Add(every)
	urgent := later(p.heard.Add(2*every), p.asked.Add(every/4))
	return earlier(earlier(regular, urgent), p.asked.Add(measureEvery))
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func (p *probe) ask(now time.Time) []byte {
	slot := &p.open[p.next%openPings]
	if slot.open {
		p.lost(true)
	}
	*slot = ping{id: p.next, at: now, open: true}
	p.asked, p.pending = now, false
	p.next++
	return binary.AppendUvarint(nil, slot.id)
}

// answered takes a pong, and returns the round trip.
func (p *probe) answered(now time.Time, body []byte) (time.Duration, bool) {
	id, n := binary.Uvarint(body)
	slot := &p.open[id%openPings]
	if n <= 0 || !slot.open || slot.id != id {
		return 0, false
	}
	slot.open = false
	p.lost(false)
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
	for i := range p.open {
		if s := &p.open[i]; s.open && now.Sub(s.at) > deadIdle {
			s.open = false
			p.lost(true)
		}
	}
}

func (p *probe) asks(body []byte) {
	if id, n := binary.Uvarint(body); n > 0 && len(p.pongs) < maxPongs {
		p.pongs = append(p.pongs, id)
	}
}
