package main

import (
	"sync"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/relay"
)

// rates makes bitrates of the byte counters of links: of the last second, or of
// the time since somebody last asked, if that is longer. The zero value is ready.
type rates struct {
	mu    sync.Mutex
	links map[linkKey]*meter
}

// linkKey names one link for as long as it is up.
type linkKey struct {
	node cdn.NodeID
	url  string
	up   time.Time
}

// rate is in bits a second.
type rate struct{ in, out int64 }

type meter struct {
	since          time.Time
	received, sent uint64 // at since
	rate           rate
}

const rateWindow = time.Second

func (r *rates) of(links []relay.LinkStats, now time.Time) []rate {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.links
	r.links = make(map[linkKey]*meter, len(links))
	all := make([]rate, len(links))
	for i, l := range links {
		key := linkKey{l.Node, l.URL, l.Up}
		m := before[key]
		if m == nil {
			m = &meter{since: l.Up} // when it had carried nothing
		}
		r.links[key] = m
		if d := now.Sub(m.since); d >= rateWindow {
			m.rate = rate{in: bits(l.Received-m.received, d), out: bits(l.Sent-m.sent, d)}
			m.since, m.received, m.sent = now, l.Received, l.Sent
		}
		all[i] = m.rate
	}
	return all
}

func bits(bytes uint64, d time.Duration) int64 { return int64(float64(bytes) * 8 / d.Seconds()) }
