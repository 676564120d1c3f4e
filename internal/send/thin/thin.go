// Package thin decides which frames of a layer one receiver is sent, if that is not all of
// them: those of the lower temporal layers, or only keyframes. What a decoder gets it can
// decode: a frame is sent whole or not at all, less is sent from any frame on, and more only
// from where no frame refers to one that was left out.
//
// It is pure, and does not allocate after New.
package thin

import "github.com/deltacdn/delta/internal/rtp/codec"

// A Level is how much is sent: the temporal layers up to one, or an extreme.
type Level int8

// The extremes.
const (
	Keyframes Level = -1
	All       Level = codec.TemporalLayers - 1
)

// A Packet is what a Filter has to know of a packet of video.
type Packet struct {
	Seq, Timestamp uint64 // extended
	Keyframe       bool   // it begins a frame at which a decoder can begin
	FrameStart     bool
	Place          codec.Temporal // of its frame
}

// A Verdict is what becomes of a packet.
type Verdict uint8

// The verdicts.
const (
	// Send: the packet is sent.
	Send Verdict = iota
	// Begin: the packet is sent, and a decoder begins with it: what goes ahead of it
	// in its frame was left out, as was all since the last keyframe.
	Begin
	// Omit: the packet is left out.
	Omit
	// OmitFrame: likewise, and it is the first packet of its frame that is.
	OmitFrame
	// Skip: the packet is left out, and all others until one that is begun with.
	Skip
)

// A Filter decides for one receiver of one layer. Packets come in any order, but those of a
// frame mostly together. It is not safe for concurrent use.
type Filter struct {
	want    Level
	level   Level  // of the newest frame and those that follow
	upward  bool   // the newest frame is a switching point
	begun   bool   // the newest frame is known
	omitted bool   // a packet of it was left out
	seq     uint64 // the highest
	ts      uint64 // of the newest frame
	older   Level  // of what is older than all changes
	n       int    // changes so far
	changes [keptChanges]change
	frames  uint32                       // so far
	seen    [codec.TemporalLayers]uint32 // of each layer the newest of frames
}

// keptChanges is how many changes are known, for packets that are late.
const keptChanges = 8

// A change is the first frame of a level.
type change struct {
	seq, ts uint64
	level   Level
	whole   bool // only its frame is sent, whatever the level
}

// New returns a filter for a receiver that was sent everything so far.
func New() *Filter { return &Filter{want: All, level: All, older: All} }

// Want has the filter send what is of the level, as soon as that can be decoded.
func (f *Filter) Want(l Level) { f.want = min(max(l, Keyframes), All) }

// Level returns the level that is wanted.
func (f *Filter) Level() Level { return f.want }

// Reached returns the level that is sent now: it may have yet to get to the one wanted.
func (f *Filter) Reached() Level { return f.level }

// Restart says that the receiver begins anew, with a keyframe that is sent whole and with
// which nothing that came earlier has to do. Its first packet is p.
func (f *Filter) Restart(p Packet) {
	*f = Filter{want: f.want, older: Keyframes, seq: p.Seq, frames: f.frames, seen: f.seen}
	f.enter(p, p.Seq)
	f.level = f.want
	f.note(p, p.Seq, f.want == Keyframes)
}

// Idle reports whether the filter has sent everything for so long that it is not needed.
func (f *Filter) Idle() bool {
	return f.want == All && f.level == All && (f.n == 0 || f.seq-f.last().seq > mostLate)
}

// mostLate is how many packets may come late.
const mostLate = 1 << 10

// Next decides about the next packet.
func (f *Filter) Next(p Packet) Verdict {
	paused := f.level == Keyframes && !f.isWhole(p)
	switch {
	case f.begun && p.Seq <= f.seq && p.Timestamp != f.ts:
		return f.late(p)
	case !f.begun || p.Timestamp != f.ts:
		f.advance(p)
	}
	f.seq = max(f.seq, p.Seq)
	f.seen[p.Place.Layer%codec.TemporalLayers] = f.frames
	switch {
	case p.Keyframe && (f.level < f.want || paused):
		f.setLevel(p, p.Seq, f.want)
	case f.level > Keyframes && !f.omitted && p.Place.Sync && f.isNext(Level(p.Place.Layer)):
		f.setLevel(p, p.Seq, Level(p.Place.Layer))
	}
	if p.Keyframe && paused {
		return Begin
	}
	return f.decide(p)
}

// isNext reports whether a layer that is wanted is the lowest of those above the level that
// have frames. H.265 streams rarely use layer 1.
func (f *Filter) isNext(layer Level) bool {
	if layer <= f.level || layer > f.want {
		return false
	}
	for between := f.level + 1; between < layer; between++ {
		if f.frames-f.seen[between] <= emptyAfter {
			return false
		}
	}
	return true
}

// emptyAfter is how many frames of other layers show that a layer has none.
const emptyAfter = 64

// advance goes on to the frame of p. Less may be sent of any frame, and more after a
// switching point.
func (f *Filter) advance(p Packet) {
	begun, upward, behind := f.begun, f.upward, f.seq+1
	f.enter(p, behind)
	switch {
	case !begun: // some of the frame may be sent already
	case f.want < f.level:
		f.setLevel(p, p.Seq, f.want)
	case upward && f.level > Keyframes && f.level < f.want:
		f.setLevel(p, behind, f.want)
	}
}

// enter begins the frame of p, ahead of which no packet has a number of from or more.
func (f *Filter) enter(p Packet, from uint64) {
	f.ts, f.begun, f.omitted, f.upward = p.Timestamp, true, false, false
	f.frames++
	if f.n > 0 && f.last().whole {
		f.note(p, from, false)
	}
}

// setLevel sets the level from packet from on, and of all of the frame of p.
func (f *Filter) setLevel(p Packet, from uint64, level Level) {
	f.level = level
	f.note(p, from, p.Keyframe && level == Keyframes)
}

// note notes a change.
func (f *Filter) note(p Packet, from uint64, whole bool) {
	at := &f.changes[f.n%keptChanges]
	if f.n >= keptChanges {
		f.older = at.level
	}
	*at = change{seq: from, ts: p.Timestamp, level: f.level, whole: whole}
	f.n++
}

// isWhole reports whether p is of the keyframe that is being sent, of those alone that are.
func (f *Filter) isWhole(p Packet) bool {
	return f.n > 0 && f.last().whole && f.last().ts == p.Timestamp
}

// SentAlone reports whether the frame of a timestamp is one of the last keyframes that were
// sent without what followed them.
func (f *Filter) SentAlone(timestamp uint64) bool {
	for i := f.n - 1; i >= max(0, f.n-keptChanges); i-- {
		if c := &f.changes[i%keptChanges]; c.whole && c.ts == timestamp {
			return true
		}
	}
	return false
}

func (f *Filter) last() *change { return &f.changes[(f.n-1)%keptChanges] }

// decide decides about a packet of the newest frame.
func (f *Filter) decide(p Packet) Verdict {
	switch {
	case f.level == Keyframes && f.isWhole(p):
		return Send
	case f.level == Keyframes:
		return Skip
	case Level(p.Place.Layer) <= f.level:
		f.upward = f.upward || p.FrameStart && p.Place.Switch
		return Send
	case f.omitted:
		return Omit
	}
	f.omitted = true
	return OmitFrame
}

// late decides about a packet of an older frame.
func (f *Filter) late(p Packet) Verdict {
	level, found := f.older, false
	for i := f.n - 1; i >= max(0, f.n-keptChanges); i-- {
		c := &f.changes[i%keptChanges]
		if c.ts == p.Timestamp {
			if c.whole || Level(p.Place.Layer) <= c.level {
				return Send
			}
			return Omit
		}
		if !found && p.Seq >= c.seq {
			level, found = c.level, true
		}
	}
	if Level(p.Place.Layer) <= level {
		return Send
	}
	return Omit
}
