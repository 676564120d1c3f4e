package send

import (
	"fmt"
	"slices"
	"time"

	"github.com/deltacdn/delta/cdn"
)

// Pick returns the layer to begin with: the one named, or, while that has no media, the
// nearest that has; without a name the best one. Its bitrate is not above c.MaxBitrate if
// there is a layer whose is not. A name that the publisher has not declared is
// [cdn.ErrNotFound].
func (c Config) Pick(t *cdn.Track) (*cdn.Layer, error) {
	now := time.Now()
	allowed := c.within(now, t, nil)
	if t.Info().Kind == cdn.Video && c.Layer != "" {
		if l := t.Layer(c.Layer); l != nil {
			return nearest(now, t, l, allowed), nil
		}
		return nil, &cdn.Error{Op: "play", Stream: t.Stream().ID(), Err: fmt.Errorf("%w: no layer %q", cdn.ErrNotFound, c.Layer)}
	}
	return best(now, allowed, nil), nil
}

// keptBeyond is by what factor the layer that is sent may exceed the bound, since bitrates
// vary.
const keptBeyond = 1.1

// within returns the layers of a track whose bitrate is at most MaxBitrate, and whose height at
// most MaxHeight, the lowest first, or the lowest alone if there is none. kept is the layer that
// is sent.
func (c Config) within(now time.Time, t *cdn.Track, kept *cdn.Layer) []*cdn.Layer {
	bound := 0
	if c.MaxBitrate != nil {
		bound, _ = c.MaxBitrate()
	}
	if bound == 0 && c.MaxHeight <= 0 || len(t.Layers()) < 2 {
		return t.Layers()
	}
	all := ranked(t)
	var fit []*cdn.Layer
	for _, l := range all {
		most := float64(bound)
		if l == kept {
			most *= keptBeyond
		}
		if r := l.Bitrate(); (bound == 0 || r > 0 && r <= most) && (c.MaxHeight <= 0 || l.Cost().Height <= c.MaxHeight) {
			fit = append(fit, l)
		}
	}
	isLive := func(l *cdn.Layer) bool { return hasMedia(now, l) }
	switch i := slices.IndexFunc(all, isLive); {
	case slices.ContainsFunc(fit, isLive) || i < 0 && fit != nil:
		return fit
	case i >= 0:
		return all[i : i+1]
	}
	return all[:1]
}

// best returns the layer with the highest bitrate below that of under; nil is no bound.
// Layers that have media are better than others. Of those not yet measured the last one
// counts as best.
func best(now time.Time, all []*cdn.Layer, under *cdn.Layer) *cdn.Layer {
	var top *cdn.Layer
	var topRate, bound float64
	var topHas bool
	if under != nil {
		bound = under.Bitrate()
	}
	for _, l := range all {
		rate, has := l.Bitrate(), hasMedia(now, l)
		if under != nil && (l == under || rate == 0 || rate >= bound) {
			continue
		}
		if top == nil || has && !topHas || has == topHas && rate >= topRate {
			top, topRate, topHas = l, rate, has
		}
	}
	return top
}

// nearest returns the layer named if it has media and is allowed. Otherwise it returns, of
// the layers of which that is true, the next one below it, or, if there is none, the next
// one above.
func nearest(now time.Time, t *cdn.Track, named *cdn.Layer, allowed []*cdn.Layer) *cdn.Layer {
	good := func(l *cdn.Layer) bool { return hasMedia(now, l) && slices.Contains(allowed, l) }
	if good(named) {
		return named
	}
	all := ranked(t)
	at := slices.Index(all, named)
	for i := at - 1; i >= 0; i-- {
		if good(all[i]) {
			return all[i]
		}
	}
	for _, l := range all[at+1:] {
		if good(l) {
			return l
		}
	}
	if !slices.Contains(allowed, named) {
		return allowed[0]
	}
	return named
}

// ranked returns a track's layers, the lowest first. That is the order in which they
// were declared, or the reverse: the bitrates of those that are known tell which. The caller must
// not change them.
func ranked(t *cdn.Track) []*cdn.Layer {
	all := t.Layers()
	rising, falling := 0, 0
	for i, low := range all {
		for _, high := range all[i+1:] {
			switch a, b := low.Bitrate(), high.Bitrate(); {
			case a == 0 || b == 0:
			case a < b:
				rising++
			case a > b:
				falling++
			}
		}
	}
	if falling > rising {
		all = slices.Clone(all)
		slices.Reverse(all)
	}
	return all
}

const (
	// liveWithin is how lately something must have come of a layer that is live.
	liveWithin = time.Second
	// outlivedBy is how much later something has come of another layer of the track if
	// the publisher has dropped the layer: all layers have the same frames.
	outlivedBy = 500 * time.Millisecond
)

// isLive reports whether media of the layer comes.
func isLive(now time.Time, l *cdn.Layer) bool {
	p := l.Newest()
	if p == nil || now.Sub(p.Arrival) >= liveWithin {
		return false
	}
	if now.Sub(p.Arrival) < outlivedBy {
		return true
	}
	for _, other := range l.Track().Layers() {
		if o := other.Newest(); o != nil && o.Arrival.Sub(p.Arrival) >= outlivedBy {
			return false
		}
	}
	return true
}

// hasMedia reports whether media of the layer comes, or would if it were wanted.
// What the node that sends it holds back does not come.
func hasMedia(now time.Time, l *cdn.Layer) bool {
	return (isLive(now, l) || l.AdvertisedBitrate() > 0) && !l.HeldBack()
}

// trackHasMedia reports whether media of any layer of the track comes, or would if it were
// wanted.
func trackHasMedia(now time.Time, t *cdn.Track) bool {
	return slices.ContainsFunc(t.Layers(), func(l *cdn.Layer) bool { return hasMedia(now, l) })
}
