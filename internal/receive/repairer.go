package receive

import (
	"github.com/pion/rtp"

	"github.com/deltacdn/delta/internal/rtp/fec"
)

// A repairer repairs what is lost of one source, and follows which of its numbers are of
// correction.
type repairer struct {
	window fec.Window
	parity bool   // the packet in hand is of correction
	about  uint16 // then: the last packet that it is about
	newest edge   // of the packets that were written
	step   int32  // the least time between frames of late, in ticks; -1: it is not known
	runs   runs
}

// An edge is where the packets that were written end.
type edge struct {
	known     bool
	seq       uint16
	timestamp uint32
	ends      bool // the next packet begins a frame, or is of correction
	whole     bool // a frame ended there, and what has followed is of correction
}

// note takes note of a packet that is written.
func (f *repairer) note(p *rtp.Packet, parity bool) {
	was := f.newest
	ahead := int16(p.SequenceNumber - was.seq)
	if was.known && ahead <= 0 {
		return
	}
	follows := was.known && ahead == 1
	f.newest = edge{
		known: true, seq: p.SequenceNumber, timestamp: p.Timestamp, ends: parity || p.Marker, whole: p.Marker || parity && follows && was.whole,
	}
	f.runs.note(follows && was.ends, parity, p.Marker)
	if !follows || f.step < 0 {
		return
	}
	switch step := int32(p.Timestamp - was.timestamp); {
	case step < 0: // frames are reordered: their timestamps say nothing
		f.step = -1
	case step > 0 && (f.step == 0 || step < f.step):
		f.step = step
	case step > 0:
		f.step += (step - f.step) / stepShare
	}
}

const (
	// stepShare is how slowly the time between frames, which is a minimum, grows.
	stepShare = 64
	// mostLost is how many packets of correction in a row are found to be lost.
	mostLost = 64
)

// lostParities returns how many of correction were lost right ahead of p. They are numbered
// as media are, and nobody needs them: a gap would be one that viewers wait for. Where
// media may be among what was lost, it is 0.
//
// Packets of correction follow the media that they are about. As many of them were lost as
// have followed each frame of late. Beyond that, media are not missing where p is about
// nothing behind the newest packet; or where that one ended a frame, p begins one, and the
// time between them is that of one frame.
func (f *repairer) lostParities(by *protection, p *rtp.Packet) int {
	lost := int(p.SequenceNumber-f.newest.seq) - 1
	if by.ULP == 0 || !f.newest.known || !f.newest.ends || lost < 1 || lost > mostLost {
		return 0
	}
	if f.parity && int16(f.about-f.newest.seq) <= 0 || !f.parity && f.next(by, p) {
		return lost
	}
	return min(f.runs.left(), lost)
}

// next reports whether p begins the frame that follows the newest packet.
func (f *repairer) next(by *protection, p *rtp.Packet) bool {
	apart := int64(int32(p.Timestamp - f.newest.timestamp))
	return f.newest.whole && apart > 0 && apart < int64(f.step)*7/4 && by.inspect != nil && by.inspect(p.Payload).FrameStart
}

// runs are how many packets of correction follow frames.
type runs struct {
	present int // behind the last frame
	broken  bool
	least   [2]int // of the present runs, and of as many ahead of these
	n       int    // of the present ones
	full    bool
}

const (
	// Of so many runs the least is known, and then it counts for as many again.
	fewRuns  = 8
	manyRuns = 32
)

// note takes note of a packet. behind: it follows the end of a frame, or of correction, and
// none is missing in between.
func (r *runs) note(behind, parity, marker bool) {
	switch {
	case parity && behind:
		r.present++
	case parity:
		r.broken = true
	default:
		if behind && !r.broken {
			r.add(r.present)
		}
		r.present, r.broken = 0, !marker
	}
}

func (r *runs) add(length int) {
	if r.n == 0 || length < r.least[0] {
		r.least[0] = length
	}
	if r.n++; r.n == manyRuns {
		r.least[1], r.n, r.full = r.least[0], 0, true
	}
}

// left returns how many packets of correction are still to come behind the last frame, at
// least.
func (r *runs) left() int {
	least := r.least[0]
	switch {
	case r.broken || !r.full && r.n < fewRuns:
		return 0
	case r.full && (r.n == 0 || r.least[1] < least):
		least = r.least[1]
	}
	return max(0, least-r.present)
}
