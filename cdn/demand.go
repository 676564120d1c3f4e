package cdn

import (
	"sync"
	"time"
)

// A Chooser is a [Back] whose sender can leave a layer out. It is called as a
// Back's methods are.
type Chooser interface {
	// Want says that the layer is wanted again, or, a while after that was so,
	// that nobody wants it any more. At first it is wanted.
	Want(yes bool)
}

const (
	// unwantedAfter is how long nobody has to want a layer before its sender is
	// told: a viewer may come back to it.
	unwantedAfter = 2 * time.Second
	// A layer that is wanted again is as good as there for so long, if its sender
	// says that it has it.
	expectedFor = 2 * time.Second
)

// demand is how an input's layer is wanted. It is guarded by the layer's mu.
type demand struct {
	chooser Chooser // nil: the layer always comes
	told    float64 // the bitrate, by the sender
	idle    bool    // the sender knows that nobody wants it
	since   time.Time
	nobody  time.Time // since when nobody wants it; zero: somebody does
}

func newDemand(back Back) demand {
	c, _ := back.(Chooser)
	return demand{chooser: c, since: time.Now()}
}

// look reports whether the sender is to be told of a change, and returns when to
// look again.
func (d *demand) look(now time.Time, wanted bool) (changed bool, next time.Time) {
	switch {
	case d.chooser == nil:
		return false, time.Time{}
	case wanted:
		d.nobody = time.Time{}
		changed = d.idle
	case d.idle:
		return false, time.Time{}
	case d.nobody.IsZero():
		d.nobody = now
		return false, now.Add(unwantedAfter)
	case now.Before(d.nobody.Add(unwantedAfter)):
		return false, d.nobody.Add(unwantedAfter)
	default:
		changed = true
	}
	if changed {
		d.idle, d.since = !wanted, now
	}
	return changed, time.Time{}
}

// A dormancy is the bitrate that a layer would have by an input of which nobody
// wants it.
type dormancy struct {
	bitrate float64
	until   time.Time // zero: until somebody does
}

func (d *demand) dormancy() dormancy {
	switch {
	case d.idle:
		return dormancy{bitrate: d.told}
	case d.chooser != nil:
		return dormancy{bitrate: d.told, until: d.since.Add(expectedFor)}
	}
	return dormancy{}
}

// setDormantLocked makes known what has changed of the inputs' demand.
func (l *Layer) setDormantLocked() {
	var all []dormancy
	for _, li := range l.inputs {
		if d := li.demand.dormancy(); d.bitrate > 0 {
			all = append(all, d)
		}
	}
	l.dormant.Store(&all)
}

// Demand says that somebody wants the layer, until release is called, once or
// more often. Where it comes from another node, only layers that are wanted
// travel.
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

// Dormant returns the bitrate of a layer that could come, and does not (or not
// yet) since nobody wanted it, as its sender tells it. It is 0 for any other.
func (l *Layer) Dormant() (bitrate float64) {
	all := l.dormant.Load()
	if all == nil || len(*all) == 0 {
		return 0
	}
	now := time.Now()
	for _, d := range *all {
		if d.until.IsZero() || now.Before(d.until) {
			bitrate = max(bitrate, d.bitrate)
		}
	}
	return bitrate
}
