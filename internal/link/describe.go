package link

import (
	"math"
	"slices"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/link/control"
	"github.com/deltacdn/delta/internal/rtp/ntp"
	"github.com/deltacdn/delta/internal/rtp/ratemeter"
	"github.com/deltacdn/delta/internal/send"
	"github.com/deltacdn/delta/internal/service"
)

// tellEvery is how often the other node is told what is new of delays and layers.
const tellEvery = time.Second

// An answer is the description of a stream that the other node got last.
type answer struct {
	config *cdn.InputConfig // nil: none yet
	at     time.Time
}

// differs reports whether the other node has to be told anew.
func (a *answer) differs(now time.Time, c cdn.InputConfig, layers []*sentLayer) bool {
	was := a.config
	if was == nil || was.Sender != c.Sender || was.Publication != c.Publication || was.Epoch != c.Epoch || !slices.Equal(was.Path, c.Path) ||
		slices.ContainsFunc(layers, (*sentLayer).urgent) {
		return true
	}
	return now.Sub(a.at) >= tellEvery && (service.DelaysDiffer(c.Delays, was.Delays) || slices.ContainsFunc(layers, (*sentLayer).differs))
}

// A sentLayer is a layer that the other node has been told of.
type sentLayer struct {
	*cdn.Layer
	sender *send.Sender
	told   cdn.LayerFacts // guarded by the subscription's mu
}

// facts returns what is known of the layer, as it is sent.
func (l *sentLayer) facts() cdn.LayerFacts {
	f := l.Facts()
	f.HeldBack = f.HeldBack || l.sender.HeldBack()
	return f
}

// urgent reports whether the other node has to be told at once: viewers wait for a layer
// that does not come.
func (l *sentLayer) urgent() bool { return l.facts().HeldBack != l.told.HeldBack }

// differs reports whether the other node has to be told what is known of the layer. It
// measures the bitrate itself unless the layer is held back.
func (l *sentLayer) differs() bool {
	f := l.facts()
	if f.Opaque != l.told.Opaque || f.Keyframes != l.told.Keyframes || f.EstimatedClock != l.told.EstimatedClock {
		return true
	}
	return l.sender.Holds() && (differ(f.Bitrate, l.told.Bitrate) || differ(f.Cost.Bitrate, l.told.Cost.Bitrate) ||
		f.Cost.Height != l.told.Cost.Height || len(f.Cost.Temporal) != len(l.told.Cost.Temporal))
}

// differ reports whether bitrates differ by a quarter.
func differ(a, b float64) bool { return math.Abs(a-b) > max(a, b)/4 }

// describe returns the tracks, with what is known of their layers now.
func (s *outbound) describe() []control.Track {
	now := time.Now()
	tracks := slices.Clone(s.tracks)
	rest := s.layers // in the order of the tracks
	for i := range tracks {
		tracks[i].Layers = slices.Clone(tracks[i].Layers)
		for k := range tracks[i].Layers {
			rest[k].describe(now, &tracks[i].Layers[k])
		}
		rest = rest[len(tracks[i].Layers):]
	}
	return tracks
}

// describe writes what is known of the layer.
func (l *sentLayer) describe(now time.Time, out *control.Layer) {
	f := l.facts()
	out.Bitrate, out.Opaque, out.Keyframes, out.HeldBack = f.Bitrate, f.Opaque, f.Keyframes, f.HeldBack
	out.Cost, out.Temporal, out.Height = math.Round(f.Cost.Bitrate), rounded(f.Cost.Temporal), f.Cost.Height
	if c, ok := l.Clock(); ok {
		wall, rtp := c.At(now)
		out.Clock = &control.Clock{RTP: uint32(rtp), NTP: ntp.Stamp(wall), Estimated: c.Estimated}
	}
}

// trackInfo returns a track as the receiving node has it.
func trackInfo(t control.Track) cdn.TrackInfo {
	info := cdn.TrackInfo{
		ID: t.ID, Codec: cdn.Codec{MimeType: t.MimeType, ClockRate: t.ClockRate, Channels: t.Channels, Fmtp: t.Fmtp}, Extensions: t.Extensions,
	}
	switch t.Kind {
	case cdn.Audio.String():
		info.Kind = cdn.Audio
	case cdn.Video.String():
		info.Kind = cdn.Video
	}
	for _, l := range t.Layers {
		info.Layers = append(info.Layers, l.Name)
	}
	return info
}

// mostBitrate is more than any layer has, in bits a second.
const mostBitrate = 1e12

// facts returns what the other node knows of a layer.
func facts(l control.Layer) cdn.LayerFacts {
	return cdn.LayerFacts{
		Opaque: l.Opaque, Keyframes: l.Keyframes, EstimatedClock: l.Clock != nil && l.Clock.Estimated, Bitrate: min(max(l.Bitrate, 0), mostBitrate),
		HeldBack: l.HeldBack, Cost: cost(l),
	}
}

// rounded returns bitrates as they are told.
func rounded(all []float64) []float64 {
	var out []float64
	for _, b := range all {
		out = append(out, math.Round(b))
	}
	return out
}

// cost returns what the other node says of a layer's cost, as far as it can be true.
func cost(l control.Layer) cdn.LayerCost {
	c := cdn.LayerCost{Bitrate: min(max(l.Cost, 0), mostBitrate), Height: min(max(l.Height, 0), 1<<16-1)}
	if n := len(l.Temporal); n > 1 && n <= ratemeter.Layers && l.Temporal[0] >= 0 && l.Temporal[n-1] == c.Bitrate && slices.IsSorted(l.Temporal) {
		c.Temporal = l.Temporal
	}
	return c
}

// extensionIDs pairs the header extensions of the sender's track with those of the
// stream's, which another sender may have declared.
func extensionIDs(ours cdn.TrackInfo, theirs control.Track) (ids []extensionID) {
	for i, uri := range ours.Extensions {
		if n := slices.Index(theirs.Extensions, uri); n >= 0 && n < 255 && i < 255 { // others have no id
			ids = append(ids, extensionID{theirs: uint8(n + 1), ours: uint8(i + 1)})
		}
	}
	return ids
}

// senderWord and senderState translate the state of a stream's sender.
func senderWord(s cdn.SenderState) string {
	switch s {
	case cdn.SenderPresent:
		return control.SenderPresent
	case cdn.SenderAbsent:
		return control.SenderAbsent
	case cdn.SenderUnknown:
	}
	return ""
}

func senderState(word string) cdn.SenderState {
	switch word {
	case control.SenderPresent:
		return cdn.SenderPresent
	case control.SenderAbsent:
		return cdn.SenderAbsent
	}
	return cdn.SenderUnknown
}
