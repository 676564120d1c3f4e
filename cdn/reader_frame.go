package cdn

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/deltacdn/delta/internal/rtp/payload"
)

// A Frame is one frame of a track, complete and joined from its packets.
type Frame struct {
	// Data is what the codec's decoder takes: a frame of VP8 or VP9, a temporal unit of
	// AV1 in the low-overhead format with its delimiter, an access unit of H.264 or H.265
	// with start codes (Annex B), or a packet of sound. It is the caller's.
	Data []byte
	// Timestamp is the RTP timestamp in units of the codec's clock rate. It has 64 bits
	// and runs on through changes of the publisher.
	Timestamp uint64
	// Time is Timestamp by the publisher's wall clock, by which the tracks of a stream
	// go together ([Layer.Clock]). Zero: not known.
	Time time.Time
	// Arrival is when the frame's last packet came to this node.
	Arrival time.Time
	// Keyframe: a decoder can begin with the frame. Parameter sets that it needs are in
	// it. Each frame of sound is one.
	Keyframe bool
	// Lost is how many packets the reader has lost since the frame before. Of video, it
	// then left out what cannot be decoded without them.
	Lost uint64
}

// maxFrame bounds a frame: it is more than a node keeps of a layer by default.
const maxFrame = 8 << 20

// A frameReader collects the packets of a frame.
type frameReader struct {
	joiner *payload.Joiner // nil: the codec is not known
	sound  bool

	ahead    *Packet // of the next frame, which was read already; nil: none
	waiting  bool    // for a keyframe
	marked   bool    // the last packets of frames have the marker, as most senders set it
	lost     uint64  // of the reader, when the last frame was returned
	seen     uint64  // of the reader, when the last packet was taken
	payloads [][]byte
	size     int
	frame    Frame
}

func (f *frameReader) init(info TrackInfo) {
	f.joiner, _ = payload.NewJoiner(info.Codec.MimeType)
	f.sound = info.Kind == Audio
	f.waiting = !f.sound
}

// ReadFrame returns the next frame, and waits for it. Of video the first one is a
// keyframe, and so is the first one after a loss: the reader asks the publisher for
// one, and leaves out what cannot be decoded without the packets that are missing.
// Of sound the next packet follows a loss. Packets that ReadFrame has taken are not
// read by ReadPacket: use one of the two.
//
// It fails as ReadPacket does, and with [ErrUnsupported] for codecs whose frames it
// cannot join: it can those that a [Frame] names.
func (r *TrackReader) ReadFrame(ctx context.Context) (Frame, error) {
	f := &r.frames
	if f.joiner == nil {
		c := r.layer.track.info.Codec.MimeType
		return Frame{}, &Error{Op: "read", Stream: r.layer.track.stream.id, Err: fmt.Errorf("%w: frames of %s: read packets", ErrUnsupported, c)}
	}
	if f.waiting && !r.begun {
		r.layer.RequestKeyframe()
	}
	for {
		p, err := r.nextOfFrame(ctx)
		if err != nil {
			return Frame{}, err
		}
		if !r.collect(p) {
			continue
		}
		if frame, ok := r.join(); ok {
			return frame, nil
		}
	}
}

// nextOfFrame returns the packet that the frame before has left, or the next one.
func (r *TrackReader) nextOfFrame(ctx context.Context) (*Packet, error) {
	if p := r.frames.ahead; p != nil {
		r.frames.ahead = nil
		return p, nil
	}
	return r.ReadPacket(ctx)
}

// collect takes a packet, and reports whether the frame is complete.
func (r *TrackReader) collect(p *Packet) (whole bool) {
	f := &r.frames
	if r.lost != f.seen { // what is missing may be of this frame or of the one before
		f.seen = r.lost
		r.startOver(!f.sound)
	}
	if f.waiting {
		if !p.Keyframe {
			return false
		}
		f.waiting, f.frame.Timestamp = false, p.Timestamp
		for _, q := range r.layer.Prefix(p) {
			f.add(q)
		}
	}
	if len(f.payloads) > 0 && f.frame.Timestamp != p.Timestamp {
		if f.marked { // its publisher was lost in the middle of it
			r.discard()
			return r.collect(p)
		}
		next := *p // which the ring may take back
		next.Payload, next.Extensions = slices.Clone(p.Payload), nil
		f.ahead = &next
		return true
	}
	f.add(p)
	f.frame.Timestamp, f.frame.Arrival = p.Timestamp, p.Arrival
	f.frame.Keyframe = f.frame.Keyframe || p.Keyframe
	if f.size > maxFrame {
		r.discard()
		return false
	}
	f.marked = f.marked || p.Marker
	return p.Marker || f.sound
}

// add copies the payload of a packet.
func (f *frameReader) add(p *Packet) {
	f.payloads = append(f.payloads, slices.Clone(p.Payload))
	f.size += len(p.Payload)
}

// startOver forgets the packets collected, and has video go on with a keyframe. It asks
// for one also if one was waited for: that may be what is lost.
func (r *TrackReader) startOver(video bool) {
	f := &r.frames
	f.payloads, f.size, f.frame = f.payloads[:0], 0, Frame{}
	if video {
		f.waiting = true
		r.layer.RequestKeyframe()
	}
}

// discard drops a frame that is of no use, whose packets count as lost.
func (r *TrackReader) discard() {
	r.lost += uint64(len(r.frames.payloads))
	r.frames.seen = r.lost
	r.startOver(!r.frames.sound)
}

// join returns the frame that was collected, and false if it is malformed.
func (r *TrackReader) join() (Frame, bool) {
	f := &r.frames
	frame := f.frame
	var err error
	if frame.Data, err = f.joiner.Join(f.payloads); err != nil {
		r.discard()
		return Frame{}, false
	}
	f.payloads, f.size, f.frame = f.payloads[:0], 0, Frame{}
	if c, ok := r.layer.Clock(); ok {
		frame.Time = c.Time(frame.Timestamp)
	}
	frame.Lost, f.lost = r.lost-f.lost, r.lost
	return frame, true
}
