package cdn

import (
	"time"

	"github.com/deltacdn/delta/cdn/internal/keyreq"
)

// asking is what is asked for of the sender of one layer. Each of its methods
// wakes the stream's goroutine, which sends what is due: there is no way to ask
// without. It is guarded by the layer's mu.
type asking struct {
	arbiter *keyreq.Arbiter
	stream  *Stream
}

func newAsking(s *Stream) asking {
	return asking{keyreq.New(keyreq.Config{Window: s.config.KeyframeWindow}), s}
}

// keyframe asks for a keyframe. It is sent at once, or at the end of the window
// of the last request, and again until a keyframe comes.
func (a asking) keyframe(now time.Time) {
	a.arbiter.Request(now)
	a.stream.kick()
}

// resume notes that the sender is heard for the first time, or after a silence:
// what was held back meanwhile is due.
func (a asking) resume() {
	a.arbiter.Resume()
	a.stream.kick()
}

// unheardAfter is how long a layer may be silent while other layers of its track
// arrive. After that its sender is taken to have dropped it, and no keyframe is
// requested.
const unheardAfter = time.Second

// leftOut reports whether li is a layer that its sender leaves out, while it
// sends others of the track. To ask for a keyframe of it would be in vain, or
// make its sender begin the others anew.
func (li *LayerInput) leftOut(now time.Time) bool {
	if li.heardWithin(now, unheardAfter) || li.demand.advertised > 0 {
		return false
	}
	for _, other := range li.layer.track.Layers() {
		if p := other.Newest(); other != li.layer && p != nil && now.Sub(p.Arrival) <= unheardAfter {
			return true
		}
	}
	return false
}

// heardWithin reports whether something has come in the last d.
func (li *LayerInput) heardWithin(now time.Time, d time.Duration) bool {
	return !li.heard.IsZero() && now.Sub(li.heard) <= d
}
