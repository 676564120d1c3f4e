package demo

import (
	"math/rand/v2"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
)

const (
	mtu       = 1200 // of an RTP packet, before header extensions
	rtpHeader = 12
	// tooLate is how far behind its schedule a pacer may be and still send
	// everything: beyond it a burst would do more harm than a gap.
	tooLate = 500 * time.Millisecond
)

// A pacer says which unit of an endlessly repeated clip is due when. The
// schedule is fixed by the time of the first unit: lateness does not add up,
// and audio and video share it. It only advances; its methods may not be
// called concurrently.
type pacer struct {
	clip  *clip
	start time.Time
	round int // how often the clip ended
	next  int // in clip.units
}

func newPacer(c *clip, start time.Time) *pacer { return &pacer{clip: c, start: start} }

// peek returns the next unit, the media time that it has (which goes on from
// one round to the next), and when it is due.
func (p *pacer) peek() (u unit, media time.Duration, due time.Time) {
	u = p.clip.units[p.next]
	media = time.Duration(p.round)*p.clip.length + u.at
	return u, media, p.start.Add(media)
}

func (p *pacer) advance() {
	if p.next++; p.next == len(p.clip.units) {
		p.next = 0
		p.round++
	}
}

// skip drops what was due before now, up to a keyframe: after a gap, nothing
// else can be decoded.
func (p *pacer) skip(now time.Time) {
	for {
		u, _, due := p.peek()
		if u.keyframe && !due.Before(now) {
			return
		}
		p.advance()
	}
}

// late reports whether the schedule was missed by more than can be made good.
func (p *pacer) late(now time.Time) bool {
	_, _, due := p.peek()
	return now.Sub(due) > tooLate
}

// A packetizer makes the RTP packets of one track. Payload type and SSRC are
// left to the track that they are written to.
type packetizer struct {
	payloader rtp.Payloader
	clock     uint64
	timestamp uint32 // of media time 0
	sequence  uint16
}

func newPacketizer(p rtp.Payloader, clock uint64) *packetizer {
	return &packetizer{
		payloader: p,
		clock:     clock,
		timestamp: rand.Uint32(),
		sequence:  uint16(rand.Uint32N(1 << 15)), // leaves room before the wrap, RFC 3711 section 3.3.1
	}
}

func newVideoPacketizer() *packetizer {
	return newPacketizer(&codecs.VP8Payloader{EnablePictureID: true}, videoClock)
}

func newAudioPacketizer() *packetizer {
	return newPacketizer(&codecs.OpusPayloader{}, audioClock)
}

// packets returns the packets of a unit. The timestamp follows from the media
// time alone, so that it neither drifts nor jumps where the clip repeats.
func (p *packetizer) packets(u unit, media time.Duration) []*rtp.Packet {
	payloads := p.payloader.Payload(mtu-rtpHeader, u.data)
	packets := make([]*rtp.Packet, len(payloads))
	for i, payload := range payloads {
		packets[i] = &rtp.Packet{
			Header: rtp.Header{
				Version:        2,
				Marker:         u.video && i == len(payloads)-1,
				SequenceNumber: p.sequence,
				Timestamp:      p.timestamp + ticks(media, p.clock),
			},
			Payload: payload,
		}
		p.sequence++
	}
	return packets
}

// ticks converts a media time to a clock rate, rounded, modulo 2^32.
func ticks(media time.Duration, clock uint64) uint32 {
	seconds, rest := uint64(media/time.Second), uint64(media%time.Second)
	return uint32(seconds*clock + (rest*clock+uint64(time.Second)/2)/uint64(time.Second))
}
