package send

import (
	"slices"
	"time"

	"github.com/deltacdn/delta/internal/send/playout"
)

// longestDelay is how long a player may hold pictures back that was not told otherwise. It is
// what libwebrtc takes by itself.
const longestDelay = 10 * time.Second

// holdBack has the viewer's player hold pictures back for as long as repairs take, if the path
// loses packets. Without RTX it cannot be told: repairs have to be the same bytes as what was
// lost.
func (s *Sender) holdBack(now time.Time) {
	a, w, repairs := s.set.adaptation, &s.wire, s.repairs.budget.Answered()
	if a == nil || w.out.delay == 0 || w.out.RTX == 0 || a.playout == nil && repairs == 0 {
		return
	}
	if a.playout == nil {
		a.playout = &playout.Delay{}
	}
	r := &s.reports
	if a.playout.Look(now, playout.View{Packets: r.packets, Repairs: repairs, Trip: r.rtt, Least: r.minRTT}, s.set.config.Playout.Repairs) {
		for _, snd := range s.set.senders {
			snd.bindPlayout()
		}
	}
}

// bindPlayout decides which playout delay packets have: the publisher's, or ours in its place.
func (s *Sender) bindPlayout() {
	w := &s.wire
	extensions := s.line.Track.Info().Extensions
	d, ours := s.set.playoutDelay(slices.Contains(extensions, uriPlayoutDelay))
	id := w.out.delay
	if ours {
		id = 0
	}
	for i, uri := range extensions {
		if uri == uriPlayoutDelay {
			w.setID(i+1, id)
		}
	}
	w.delays, w.delay = ours && s.video && w.out.delay != 0, d.bytes()
}

// playoutDelay returns the delay that players are told; false: none, or only the publisher's.
// Once one was told it is told until the end: a player keeps to the last that it has heard.
func (s *Set) playoutDelay(published bool) (d PlayoutDelay, ok bool) {
	if p := s.config.Playout.Delay; p != nil {
		d, ok = *p, true
	}
	if a := s.adaptation; a != nil && a.playout != nil {
		least := a.playout.Min()
		if !ok {
			d, ok = PlayoutDelay{Max: longestDelay}, least > 0 || !published
		}
		d.Min = min(max(d.Min, least), max(d.Min, d.Max))
	}
	return d, ok
}
