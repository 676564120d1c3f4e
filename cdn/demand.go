package cdn

import (
	"sync"
	"time"
)

// A SelectiveUpstream is an [Upstream] whose sender can leave a layer out. Its method
// is called as those of an Upstream are.
type SelectiveUpstream interface {
	// SetActive says whether anybody wants the layer. A layer is wanted at first; that
	// nobody wants it is said with a delay of some seconds.
	SetActive(active bool)
}

const (
	// unwantedAfter is how long nobody has to want a layer until its sender is told: a
	// viewer may come back to it.
	unwantedAfter = 2 * time.Second
	// resumesWithin is how long a layer that is wanted again counts as available, if its
	// sender says that it has it.
	resumesWithin = 2 * time.Second
)

// demand is whether an input's layer is wanted, as its sender knows it. It is guarded
// by the layer's mu.
type demand struct {
	selective  SelectiveUpstream // nil: the sender always sends the layer
	advertised float64           // the layer's bitrate, as the sender says
	inactive   bool              // the sender knows that nobody wants the layer
	since      time.Time         // when inactive changed last
	unwanted   time.Time         // since when nobody wants the layer; zero: somebody does
}

func newDemand(up Upstream) demand {
	selective, _ := up.(SelectiveUpstream)
	return demand{selective: selective, since: time.Now()}
}

// update reports whether the sender has to be told of a change, and returns the time of
// the next call.
func (d *demand) update(now time.Time, wanted bool) (changed bool, next time.Time) {
	switch {
	case d.selective == nil:
		return false, time.Time{}
	case wanted:
		d.unwanted = time.Time{}
		changed = d.inactive
	case d.inactive:
		return false, time.Time{}
	case d.unwanted.IsZero():
		d.unwanted = now
		return false, now.Add(unwantedAfter)
	case now.Before(d.unwanted.Add(unwantedAfter)):
		return false, d.unwanted.Add(unwantedAfter)
	default:
		changed = true
	}
	if changed {
		d.inactive, d.since = !wanted, now
	}
	return changed, time.Time{}
}

// An advertisement is the bitrate that a sender advertises for a layer that it leaves
// out.
type advertisement struct {
	bitrate float64
	until   time.Time // zero: until somebody wants the layer
}

func (d *demand) advertisement() advertisement {
	switch {
	case d.inactive:
		return advertisement{bitrate: d.advertised}
	case d.selective != nil:
		return advertisement{bitrate: d.advertised, until: d.since.Add(resumesWithin)}
	}
	return advertisement{}
}

// advertiseLocked publishes what the layer's inputs advertise now.
func (l *Layer) advertiseLocked() {
	var all []advertisement
	for _, li := range l.inputs {
		if a := li.demand.advertisement(); a.bitrate > 0 {
			all = append(all, a)
		}
	}
	l.advertised.Store(&all)
}

// Demand says that the caller wants the layer, until release is called, once or more
// often. A layer that comes from another node is sent only while somebody wants it.
func (l *Layer) Demand() (release func()) {
	if l.demand.Add(1) == 1 {
		l.track.stream.kick()
	}
	return sync.OnceFunc(func() {
		if l.demand.Add(-1) == 0 {
			l.track.stream.kick()
		}
	})
}

// AdvertisedBitrate returns the payload bitrate, in bits a second, of a layer that is
// not being sent since nobody wants it, or that nobody wanted until a moment ago. Its
// sender advertises it. It is 0 for any other layer.
func (l *Layer) AdvertisedBitrate() (bitrate float64) {
	all := l.advertised.Load()
	if all == nil || len(*all) == 0 {
		return 0
	}
	now := time.Now()
	for _, a := range *all {
		if a.until.IsZero() || now.Before(a.until) {
			bitrate = max(bitrate, a.bitrate)
		}
	}
	return bitrate
}
