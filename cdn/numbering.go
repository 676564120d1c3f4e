package cdn

import (
	"time"

	"github.com/pion/rtp"

	"github.com/deltacdn/delta/internal/rtp/seqnum"
)

// A numbering is how an input's numbers and timestamps become 64 bits long.
type numbering struct {
	line     *seqnum.Line
	gaps     seqnum.Gaps // of padding
	held     heldPacket  // that may be the first of a new numbering
	resync   resync
	begins   bool   // the next packet is the first of a numbering
	first    uint64 // number
	received uint64 // packets, duplicates aside
	newest   uint64 // timestamp, to see where frames start
}

// count notes that the packet numbered seq has come.
func (n *numbering) count(seq uint64) {
	if n.received == 0 {
		n.first = seq
	}
	if n.begins {
		n.resync.from = seq
	}
	n.received++
}

// advance reports whether ts is newer than all timestamps before it: then a frame
// starts.
func (n *numbering) advance(ts uint64) (newer bool) {
	if n.begins {
		n.begins, n.newest = false, ts-1
	}
	if newer = int64(ts-n.newest) > 0; newer {
		n.newest = ts
	}
	return newer
}

const (
	// reorderedFrames is by how much a frame may be older than the one that is
	// sent ahead of it: an encoder with B-frames reorders them.
	reorderedFrames = time.Second
	// reorderedSound is the same for sound, whose timestamps some senders round.
	reorderedSound = 100 * time.Millisecond
	// caughtUpBy is by how much faster than time a node may send what it has of a
	// stream: more than its ring keeps.
	caughtUpBy = 15 * time.Second
)

// lineConfig says what to expect of a track's numbers. Relayed media may come
// faster than in real time, as a node catches up with the stream.
func lineConfig(info TrackInfo, relayed bool) seqnum.LineConfig {
	c := seqnum.LineConfig{Rate: info.Codec.ClockRate, Back: reorderedFrames}
	if info.Kind == Audio {
		c.Back = reorderedSound
	}
	if relayed {
		c.Ahead = caughtUpBy
	}
	return c
}

// resyncFor is how long a layer waits for a keyframe after a jump behind which
// packets may be missing: then it goes on with any frame, as a decoder would.
const resyncFor = 3 * time.Second

// A resync says how to continue after a jump in the numbers of the layer's active
// input.
type resync struct {
	due   bool
	from  uint64 // number with which the new numbering begins
	jump  seqnum.Jump
	until time.Time
}

// A heldPacket is a copy of a packet that is written once the next one shows that
// it is no stray.
type heldPacket struct {
	at     time.Time // arrival; zero: there is none
	packet rtp.Packet
	ext    []Ext
}

func (h *heldPacket) keep(now time.Time, p *rtp.Packet, ext []Ext) {
	h.at, h.packet, h.ext = now, copyPacket(p), copyExt(ext)
}

// jumped writes the first packets of a new numbering.
func (li *LayerInput) jumped(now time.Time, p *rtp.Packet, ext []Ext, j seqnum.Jump) (wrote bool) {
	l := li.layer
	l.stats.Jumps++
	li.numbers.begins, li.splice.match = true, sibling{}
	if j.Time {
		li.input.clock.restart(&li.clock.track)
	}
	if r := &li.numbers.resync; l.active == li {
		if !r.due {
			r.due, r.jump, r.until = true, seqnum.Jump{}, now.Add(resyncFor)
		}
		r.jump.Time, r.jump.Gap = r.jump.Time || j.Time, r.jump.Gap || j.Gap
		if l.track.info.Kind == Video {
			li.asking.keyframe(now) // to heal what may be missing
		}
	}
	if h := li.numbers.held; j.Held && !h.at.IsZero() {
		li.numbers.held = heldPacket{}
		wrote = li.number(h.at, &h.packet, h.ext)
	}
	li.numbers.held = heldPacket{}
	return li.number(now, p, ext) || wrote
}

// goOn has the active input's new numbers continue what the layer has.
func (li *LayerInput) goOn(in *incoming) {
	l, j, by := li.layer, li.numbers.resync.jump, &li.splice.shift
	li.numbers.resync.due = false
	by.from, by.seq = in.mapped, l.out.seq+1-in.mapped
	if j.Time {
		by.ts = l.liveTimestamp(in.at) - in.ts
		li.publishClock(in.at)
	}
	if in.info.Keyframe {
		li.alignPictures(in)
	}
}

// liveTimestamp returns the timestamp with which the layer goes on by the time that
// has passed.
func (l *Layer) liveTimestamp(now time.Time) uint64 {
	passed := max(now.Sub(l.out.arrival), time.Millisecond)
	return l.out.ts + uint64(passed.Seconds()*float64(l.track.info.Codec.ClockRate))
}
