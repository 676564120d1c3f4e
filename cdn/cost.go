package cdn

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/deltacdn/delta/internal/rtp/codec"
	"github.com/deltacdn/delta/internal/rtp/ratemeter"
)

// A LayerCost is what it costs to send a layer: the most that came of it in any second of
// the last five. Bitrates are in bits a second, with the headers of RTP, its extensions,
// SRTP, UDP and IPv4.
type LayerCost struct {
	Bitrate float64 // 0: nothing is known
	// Temporal has the bitrates of the temporal layers up to each, the last of which is
	// Bitrate. It is nil if there is one only, and must not be changed.
	Temporal []float64
	// Height is that of the picture, in pixels; 0: not known.
	Height int
	// Keyframe is the size of the larger of the last two keyframes, in bytes with headers; 0:
	// not known. Nodes do not tell it one another.
	Keyframe int
}

// Headers of a packet, in bytes.
const (
	ipHeaders  = 20 + 8  // IPv4 and UDP
	rtpHeaders = 12 + 16 // RTP and SRTP's tag
	extHeader  = 4       // of a block of extensions
)

// costs measures what a layer costs. What is not atomic is guarded by the layer's mu.
type costs struct {
	published atomic.Pointer[measuredCost] // nil: nothing was measured
	told      atomic.Pointer[LayerCost]    // by the node that sends the layer; nil: nothing
	meter     ratemeter.Meter
	begun     bool
	at        time.Time // of the first packet
	ts        uint64
	since     time.Duration // then
	resumed   time.Duration // as since, when it came after a pause
	height    int
	keyframes keyframeSizes
}

// keyframeSizes are the sizes of the last two keyframes, in bytes.
type keyframeSizes struct {
	ts           uint64 // of the last; known once that has a size
	last, before int
}

// add counts a packet. begins: a keyframe begins with it.
func (k *keyframeSizes) add(ts uint64, begins bool, size int) {
	switch {
	case begins && (k.last == 0 || ts != k.ts):
		*k = keyframeSizes{ts: ts, last: size, before: k.last}
	case k.last > 0 && ts == k.ts:
		k.last += size
	}
}

// A measuredCost is what was measured of a layer.
type measuredCost struct {
	LayerCost
	conclusive bool // for long enough to count alone
}

// same reports whether two are the same but for temporal layers.
func (m *measuredCost) same(o *measuredCost) bool {
	return m.conclusive == o.conclusive && m.Bitrate == o.Bitrate && m.Height == o.Height && m.Keyframe == o.Keyframe
}

// conclusiveAfter is how long a layer has to be measured until that counts alone.
const conclusiveAfter = 5 * time.Second

// add counts a packet of a track with a clock rate.
func (c *costs) add(now time.Time, ts uint64, rate uint32, temporal uint8, size int) {
	if !c.begun {
		c.begun, c.at, c.ts = true, now, ts
	}
	// While a node catches up, media come faster than they are sent on.
	byMedia := time.Duration(float64(int64(ts-c.ts)) / float64(rate) * float64(time.Second))
	since := max(c.since, now.Sub(c.at), byMedia)
	if since-c.since >= conclusiveAfter {
		c.resumed = since
	}
	c.since = since
	if c.meter.Add(c.since, temporal, size) {
		c.publish()
	}
}

// publish publishes what was measured, if that has changed.
func (c *costs) publish() {
	b := c.meter.Bitrates(c.since)
	n := b.Count()
	if n < 2 {
		n = 0
	}
	next := measuredCost{
		LayerCost:  LayerCost{Bitrate: b.Whole(), Height: c.height, Keyframe: max(c.keyframes.last, c.keyframes.before)},
		conclusive: c.since-c.resumed >= conclusiveAfter,
	}
	if old := c.published.Load(); old != nil && old.same(&next) && slices.Equal(old.Temporal, b[:n]) {
		return
	}
	changed := next
	if n > 0 {
		changed.Temporal = slices.Clone(b[:n])
	}
	c.published.Store(&changed)
}

// measureCost counts a packet that was stored.
func (l *Layer) measureCost(in *incoming, ts uint64, ext int) {
	info := &l.track.info
	if info.Kind == Video && (in.info.Keyframe && !in.info.Unproved || in.info.Parameters != 0) {
		if h := codec.Height(info.Codec.MimeType, in.packet.Payload); h > 0 {
			l.costs.height = h
		}
	}
	if s := l.out.structure; s != nil && s.Height() > 0 {
		l.costs.height = s.Height()
	}
	size := len(in.packet.Payload) + ipHeaders + rtpHeaders
	if ext > 0 {
		size += ext + extHeader
	}
	if info.Kind == Video {
		l.costs.keyframes.add(ts, in.info.Keyframe, size)
	}
	l.costs.add(in.at, ts, info.Codec.ClockRate, in.place.Layer, size)
}

// fromPayload is by how much a layer costs more than its mean payload bitrate, if no more is
// known.
const fromPayload = 1.3

// Cost returns what it costs to send the layer. Of one that could come
// ([Layer.AdvertisedBitrate]), and of one that has come for a moment only, it is what the node
// that sends it says. If nothing comes, the bitrate is 0. Cost takes no lock that whoever
// writes the layer needs.
func (l *Layer) Cost() (c LayerCost) {
	conclusive := false
	if m := l.costs.published.Load(); m != nil {
		if p := l.Newest(); time.Since(p.Arrival) <= 2*bitrateWindow {
			c, conclusive = m.LayerCost, m.conclusive
		}
		c.Height = m.Height
	}
	advertised := l.AdvertisedBitrate()
	if conclusive || c.Bitrate == 0 && advertised == 0 {
		return c
	}
	if told := l.costs.told.Load(); told != nil {
		if told.Bitrate > c.Bitrate {
			c.Bitrate, c.Temporal = told.Bitrate, told.Temporal
		}
		if c.Height == 0 {
			c.Height = told.Height
		}
	}
	if c.Bitrate == 0 {
		c.Bitrate = fromPayload * advertised
	}
	return c
}

// tell notes what the node that sends the layer says of its cost.
func (c *costs) tell(told LayerCost) {
	if told.Bitrate > 0 || told.Height > 0 {
		c.told.Store(&told)
	}
}
