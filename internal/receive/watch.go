package receive

import (
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/receive/uplink"
)

// lookEvery is how often a publisher's path is looked at.
const lookEvery = time.Second

// A watch looks at the path from a publisher: see package uplink.
type watch struct {
	detector uplink.Detector
	at       time.Time      // of the last look
	layers   []uplink.Layer // reused
}

// counted is what a source had sent, and what of that had come.
type counted struct{ expected, received uint64 }

// look judges the publisher's path if it is time to; otherwise due is false. It reports
// whether the path has become narrow, or has recovered.
func (r *receiver) look(now time.Time) (path cdn.Uplink, changed, due bool) {
	w := &r.watch
	if now.Sub(w.at) < lookEvery {
		return cdn.Uplink{}, false, false
	}
	w.at = now
	w.layers = w.layers[:0]
	for _, s := range r.sections {
		for _, l := range s.layers {
			w.layers = append(w.layers, l.look())
		}
	}
	changed = w.detector.Look(now, w.layers)
	state := w.detector.State()
	path = cdn.Uplink{
		Narrow: state.Narrow, Since: state.Since, Bitrate: state.Bitrate, Before: state.Before,
		Loss: state.Loss, Queue: state.Queue, Missing: state.Missing,
	}
	for _, l := range w.layers {
		if l.Bytes > 0 && l.Name != "" {
			path.Layers = append(path.Layers, l.Name)
		}
	}
	return path, changed, true
}

// look returns what came of the layer since it was last looked at.
func (l *layer) look() uplink.Layer {
	one := uplink.Layer{Track: l.section.track, Name: l.name, Bytes: l.bytes, Queue: -1}
	l.bytes = 0
	if s := l.source; s != nil {
		expected, received := s.stats.Totals()
		one.Expected, one.Received = int(expected-s.looked.expected), int(received-s.looked.received)
		s.looked = counted{expected, received}
		one.Queue, one.Ended = s.delay.Queue(), s.ended
	}
	return one
}
