package send

import (
	"strings"
	"time"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/rtp/codec"
	"github.com/deltacdn/delta/internal/send/allot"
	"github.com/deltacdn/delta/internal/send/thin"
)

// A sender of video can leave frames out: those of higher temporal layers, or all but
// keyframes. The receiver sees no gap: sequence numbers are those of a stream without these
// frames. Timestamps stay as they are.
//
// Identifiers in the payload are what receivers follow references by. Those of VP9 are the
// places of frames in a pattern that the sender has declared, and those of the dependency
// descriptor what references count in: there a gap is right, and they stay. VP8 has no such
// references, and libwebrtc holds back a frame of a higher layer while a picture ID ahead of
// it is missing: they are counted anew. TL0PICIDX counts frames of the base layer, which are
// all sent.

// thin has the sender send what is of a level, from the next frame on that a decoder can go
// on with. The caller has the set's lock.
func (s *Sender) thin(to thin.Level) {
	switch {
	case !s.video || s.filter == nil && to >= thin.All:
		return
	case s.filter == nil:
		s.filter = thin.New()
	}
	s.thinned = true
	s.filter.Want(to)
}

// thinnedTo returns the level that is sent, or is about to be.
func (s *Sender) thinnedTo() thin.Level {
	if s.filter == nil {
		return thin.All
	}
	return s.filter.Level()
}

// levelOf returns how much of a layer a rung sends.
func levelOf(r allot.Rung) thin.Level {
	switch r.Mode {
	case allot.Keyframes:
		return thin.Keyframes
	case allot.Partial:
		return thin.Level(r.Temporal)
	case allot.Paused, allot.Full:
	}
	return thin.All
}

// rises reports whether more is to be sent of the layer than is yet: no frame has come from
// which on a decoder can go on with that.
func (s *Sender) rises() bool {
	if s.filter == nil || s.stopped.halted != nothing || s.mode.awaitsKeyframe() {
		return false
	}
	want, level := s.filter.Level(), s.filter.Reached()
	if n := len(s.feed.layer.Cost().Temporal); want > thin.Keyframes {
		want = min(want, thin.Level(max(n-1, 0))) // there are no higher ones
	}
	return level < want
}

// urge asks for a keyframe where more is to be sent, and no frame has let a decoder go on with
// that for a while.
func (s *Set) urge(now time.Time) {
	t, rises := &s.adaptation.thinning, false
	for _, snd := range s.senders {
		if !snd.adapts() || !snd.rises() {
			continue
		}
		rises = true
		if !t.rising.IsZero() && now.Sub(t.rising) >= risesWithin {
			snd.feed.layer.RequestKeyframe()
		}
	}
	switch {
	case !rises:
		t.rising = time.Time{}
	case t.rising.IsZero() || now.Sub(t.rising) >= risesWithin:
		t.rising = now
	}
}

// risesWithin is how long a frame is awaited with which more can be sent. Encoders with
// temporal layers have one each few frames.
const risesWithin = time.Second

// thinningTimes are when an adaptation has looked at its viewer's thinning.
type thinningTimes struct {
	checked time.Time // adaptation.thins
	rising  time.Time // since when more is to be sent than is yet; zero: it is not
}

// canThin reports whether frames of all video that comes can be left out. Those of a stream
// that is encrypted end to end, or opaque otherwise, cannot be told apart. While nothing
// comes, it is as it was.
func (s *Set) canThin(now time.Time) bool {
	a := s.adaptation
	if now.Sub(a.thinning.checked) < recheckEvery {
		return a.thins
	}
	some, all := false, true
	for _, snd := range s.senders {
		if !snd.adapts() {
			continue
		}
		for _, l := range snd.line.Track.Layers() {
			if hasMedia(now, l) {
				f := l.Facts()
				some, all = true, all && f.Keyframes && !f.Opaque
			}
		}
	}
	a.thinning.checked = now
	if some {
		a.thins = all
	}
	return a.thins
}

// isAbove reports whether p is of frames that are not sent any more: of a higher temporal
// layer, or of any layer but for keyframes. It was sent ahead of the step down. The path would
// have to carry its repair beside what is sent now. A receiver of H.264 or H.265 cannot do
// without: it follows no references, but decodes what has no gap.
func (s *Sender) isAbove(p *cdn.Packet) bool {
	if s.filter == nil || thin.Level(p.TemporalLayer) <= s.filter.Level() || s.filter.SentAlone(p.Timestamp) {
		return false
	}
	switch strings.ToLower(s.line.Track.Info().Codec.MimeType) {
	case "video/h264", "video/h265":
		return false
	}
	return true
}

// restartFilter says that the receiver begins anew with keyframe p.
func (s *Sender) restartFilter(p *cdn.Packet) {
	if s.filter != nil {
		s.filter.Restart(filtered(p))
	}
}

// filtered returns what the filter has to know of a packet.
func filtered(p *cdn.Packet) thin.Packet {
	return thin.Packet{
		Seq: p.Seq, Timestamp: p.Timestamp, Keyframe: p.Keyframe, FrameStart: p.FrameStart,
		Place: codec.Temporal{Layer: p.TemporalLayer, Sync: p.LayerSync, Switch: p.SwitchingPoint},
	}
}

// passes reports whether p, the next packet, is to be sent.
func (s *Sender) passes(now time.Time, p *cdn.Packet) bool {
	frames := uint32(0)
	switch s.filter.Next(filtered(p)) {
	case thin.Send:
		return true
	case thin.Begin:
		s.sendKeyframe(now, p)
		return false
	case thin.Skip: // a span begins with what is sent next
		return false
	case thin.OmitFrame:
		frames = 1
	case thin.Omit:
	}
	if seq, void := s.numbers.Omit(p.Seq, frames); void {
		s.sendVoid(now, p, seq)
	}
	return false
}

// sendKeyframe sends the keyframe of p as far as it is here. Only keyframes were sent ahead of
// it, and not this one, since p shows that it is one.
func (s *Sender) sendKeyframe(now time.Time, p *cdn.Packet) {
	as := s.timeline.At(p.Timestamp)
	s.sendPrefix(now, p, as)
	s.startSpan(p, as)
	s.send(now, p)
	s.set.padding.kept = nil // there is something newer
	for q := s.feed.layer.Lookup(p.Seq + 1); q != nil && q.Timestamp == p.Timestamp && q.Index < p.Index; q = s.feed.layer.Lookup(q.Seq + 1) {
		s.send(now, q)
	}
}

// keepKeyframe keeps a packet of the last keyframe while only keyframes are sent. Probes
// repeat it, and by the next keyframe the ring may have dropped it.
func (s *Set) keepKeyframe() {
	if by := s.padder(); by != nil && s.adaptation.sent.Mode == allot.Keyframes {
		by.keepRepeat()
	}
}

// sendVoid sends an empty packet as number seq, which the receiver has missed and which turns
// out to be that of p, a packet that is left out.
func (s *Sender) sendVoid(now time.Time, p *cdn.Packet, seq uint64) {
	if s.repairs.owed != nil {
		s.repairs.owed.remove(p.Seq)
	}
	if s.wire.stamped {
		s.wire.stamp = s.nextStamp(now, 0, s.flag())
	}
	s.fill(emptied(p), s.feed.source, seq, uint32(s.timeline.At(p.Timestamp)), true)
	if n, err := s.write(nil); err == nil {
		s.set.sentAt = now
		s.repairs.unaccounted += n
		s.reports.sent(0, n)
		if s.wire.stamped {
			s.transmitted(now, n, s.flag())
		}
	}
}

// emptied returns p without what it carries.
func emptied(p *cdn.Packet) *cdn.Packet {
	return &cdn.Packet{Seq: p.Seq, Timestamp: p.Timestamp, Arrival: p.Arrival}
}

// dropFilter ends thinning once nothing is left out any more.
func (s *Sender) dropFilter() {
	if s.filter != nil && s.filter.Idle() {
		s.filter, s.thinned = nil, false
	}
}
