package send

import (
	"slices"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/send/allot"
)

// A ladder is what a viewer can be sent, the least first: no video, of the lowest layer only
// keyframes and then fewer temporal layers, if frames can be told apart, and each layer up to
// the best. If there are several tracks of video, the rung with layer i has that layer of
// each, or its best if it has fewer, and costs what they cost together.
//
// Layers that do not come, or that the viewer's limits forbid, are no rungs: a probe for
// them would be in vain. But what the viewer has been found to take stays: then such a
// layer is sent as soon as it comes, or may be.

// adapts reports whether what the sender sends is chosen by the set's policy.
func (s *Sender) adapts() bool { return s.video && s.rid == "" && !s.set.config.Node }

// grown reports whether a track has other layers than the ladder was made of.
func (s *Set) grown() bool { return s.adaptation.begun && s.countLayers() != int(s.adaptation.layers) }

func (s *Set) countLayers() (n int) {
	for _, snd := range s.senders {
		if snd.adapts() {
			n += len(snd.line.Track.Layers())
		}
	}
	return n
}

// fewLayers is how many layers a track has mostly, at most: the ladder of so many is made without
// an allocation.
const fewLayers = 4

// buildLadder makes the ladder of what there is now.
func (s *Set) buildLadder(now time.Time) {
	a := s.adaptation
	most, sound, alive := 0, 0.0, false
	for _, snd := range s.senders {
		switch {
		case snd.adapts():
			most = max(most, len(snd.line.Track.Layers()))
			alive = alive || !isDead(now, snd.line.Track)
		case !snd.video:
			sound += cost(snd.feed.layer)
			if snd.wire.red != 0 {
				sound += snd.feed.layer.Bitrate()
			}
		}
	}
	var few [fewLayers]rungLayer
	layers := slices.Grow(few[:0], most)[:most]
	for _, snd := range s.senders {
		switch {
		case !snd.adapts():
		case alive && isDead(now, snd.line.Track):
			s.addDead(layers, snd)
		default:
			s.addCosts(now, layers, snd)
		}
	}
	var fewKnown [fewLayers]allot.Layer
	known := slices.Grow(fewKnown[:0], most)[:most]
	a.costs = slices.Grow(a.costs, most)[:most]
	for i, l := range layers {
		if l.there {
			known[i].Bitrate = a.costs[i].hold(now, l.cost)
		}
	}
	a.layers = uint16(s.countLayers())
	thins := s.canThin(now)
	if i := slices.IndexFunc(known, func(l allot.Layer) bool { return l.Bitrate > 0 }); i >= 0 && thins {
		known[i].Temporal = s.temporalCosts(i, known[i].Bitrate)
		known[i].Keyframe = s.keyframeSize(i)
	}
	a.ladder = allot.Build(a.ladder, known, sound, allot.Limits{})
	if !thins {
		a.ladder = slices.DeleteFunc(a.ladder, func(r allot.Rung) bool { return r.Mode == allot.Keyframes })
	}
}

// describeLayers returns the names and heights of the layers of the first track that adapts, for
// as many as rungs have. If the track has fewer, its best stands for the others.
func (s *Set) describeLayers() []allot.Layer {
	layers := make([]allot.Layer, len(s.adaptation.costs))
	for _, snd := range s.senders {
		if !snd.adapts() {
			continue
		}
		for i := range layers {
			l := layerOf(snd.line.Track, i)
			layers[i].Name, layers[i].Height = l.Name(), l.Cost().Height
		}
		break
	}
	return layers
}

// layerOf returns the layer that a track is sent in on rungs with layer i: its best if it has
// fewer.
func layerOf(t *cdn.Track, i int) *cdn.Layer {
	all := ranked(t)
	return all[min(i, len(all)-1)]
}

// temporalCosts returns what the temporal layers up to each cost, of layer i of all tracks,
// which costs whole; nil: there is one only. A track with fewer has all of them. The rung that
// the viewer has stays, as layers do: while nothing comes, it is not known how many there are.
func (s *Set) temporalCosts(i int, whole float64) []float64 {
	a := s.adaptation
	var few [2]cdn.LayerCost
	costs, n := few[:0], 0
	for _, snd := range s.senders {
		if snd.adapts() {
			c := layerOf(snd.line.Track, i).Cost()
			costs, n = append(costs, c), max(n, len(c.Temporal))
		}
	}
	if a.begun && a.rung.Mode == allot.Partial {
		n = max(n, a.rung.Temporal+2)
	}
	if n < 2 {
		return nil
	}
	all := make([]float64, n)
	for _, c := range costs {
		for t := range all {
			if last := len(c.Temporal) - 1; last >= 0 {
				all[t] += c.Temporal[min(t, last)]
			} else {
				all[t] += c.Bitrate
			}
		}
	}
	sum := all[n-1]
	for t := range all {
		if sum > 0 {
			all[t] *= whole / sum
		} else {
			all[t] = whole
		}
	}
	return all
}

// keyframeSize returns the size of a keyframe in layer i of all tracks together, in bits; 0: it
// is not known.
func (s *Set) keyframeSize(i int) (bits float64) {
	for _, snd := range s.senders {
		if snd.adapts() {
			bits += 8 * float64(layerOf(snd.line.Track, i).Cost().Keyframe)
		}
	}
	return bits
}

// A rungLayer is what all video takes if each track is sent in its layer of one index.
type rungLayer struct {
	cost  float64
	there bool // a track has it
}

// A heldCost is the most that a layer has cost lately. What the last second took is too
// little just ahead of a keyframe, or of a scene that is hard to code.
type heldCost struct {
	most float64
	at   time.Time // when that was so
}

// holdCost is how long the most counts.
const holdCost = 5 * time.Second

func (h *heldCost) hold(now time.Time, cost float64) float64 {
	if cost >= h.most || now.Sub(h.at) > holdCost {
		*h = heldCost{cost, now}
	}
	return h.most
}

// deadAfter is how long a track must be silent to cost nothing.
const deadAfter = 5 * time.Second

// isDead reports whether nothing has come of a track for long, or ever. A guess at what it
// would cost would keep the viewer from what it can be sent of the other tracks.
func isDead(now time.Time, t *cdn.Track) bool {
	return !slices.ContainsFunc(t.Layers(), func(l *cdn.Layer) bool {
		p := l.Newest()
		return l.AdvertisedBitrate() > 0 || p != nil && now.Sub(p.Arrival) < deadAfter
	})
}

// addCosts adds what a sender's track costs.
func (s *Set) addCosts(now time.Time, layers []rungLayer, snd *Sender) {
	a := s.adaptation
	all := ranked(snd.line.Track)
	allowed := s.config.allowed(now, snd.line.Track, snd.target())
	last, below := 0.0, 0.0
	for i := range layers {
		if i < len(all) {
			rate := cost(all[i])
			if rate == 0 { // until it has been measured
				rate = max(leastGuess, guessed*below)
			}
			below = max(below, rate)
			granted := !a.begun || i <= a.rung.Layer
			if granted || hasMedia(now, all[i]) && slices.Contains(allowed, all[i]) {
				last, layers[i].there = rate, true
			}
		}
		layers[i].cost += last
	}
}

// addDead adds a track that costs nothing. Should it come again, the viewer has what it had.
func (s *Set) addDead(layers []rungLayer, snd *Sender) {
	a := s.adaptation
	for i := range min(len(layers), len(snd.line.Track.Layers())) {
		layers[i].there = layers[i].there || a.begun && i <= a.rung.Layer
	}
}

// allowed returns the layers of a track that a viewer's limits allow: by their bitrate,
// and up to the layer that it has named.
func (c Config) allowed(now time.Time, t *cdn.Track, kept *cdn.Layer) []*cdn.Layer {
	all := c.within(now, t, kept)
	named := t.Layer(c.Layer)
	if c.Layer == "" || named == nil {
		return all
	}
	order := ranked(t)
	top := order[:slices.Index(order, named)+1]
	return slices.DeleteFunc(slices.Clone(all), func(l *cdn.Layer) bool { return !slices.Contains(top, l) })
}

const (
	// guessed is by what factor a layer is taken to cost more than the one below, until it
	// has been measured.
	guessed    = 3
	leastGuess = 200e3
)

const (
	// perPacket is what a packet takes beside its payload: headers of IP, UDP and RTP with
	// extensions, and SRTP's tag, in bits.
	perPacket = 8 * 68
	// fullPacket is the payload of a packet of a large frame, in bits.
	fullPacket = 8 * 1100
	// frames and soundPackets are how many packets a second are not full.
	frames       = 15
	soundPackets = 50
)

// cost is what a layer takes on the wire, in bits a second; 0: it is not known, or nothing
// comes.
func cost(l *cdn.Layer) float64 {
	rate := l.Bitrate()
	if rate == 0 {
		return 0
	}
	packets := rate/fullPacket + frames
	if l.Track().Info().Kind == cdn.Audio {
		packets = soundPackets
	}
	return rate + perPacket*packets
}

// within returns the layers that the sender may send: those that the viewer's limits
// allow, of those up to the present rung. If none of these comes, it is the lowest that
// does.
func (s *Sender) within(now time.Time) []*cdn.Layer {
	allowed := s.set.config.within(now, s.line.Track, s.target())
	a := s.set.adaptation
	all := s.line.Track.Layers()
	if a == nil || a.sent.Layer >= len(all)-1 {
		return allowed
	}
	all = ranked(s.line.Track)
	top := all[:max(a.sent.Layer, 0)+1]
	var fit []*cdn.Layer
	anyLive := false
	for _, l := range allowed {
		if slices.Contains(top, l) {
			fit = append(fit, l)
			anyLive = anyLive || hasMedia(now, l)
		}
	}
	if anyLive {
		return fit
	}
	for i, l := range all {
		if hasMedia(now, l) {
			return all[i : i+1]
		}
	}
	return all[:1]
}
