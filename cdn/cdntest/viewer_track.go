package cdntest

import (
	"bytes"
	"fmt"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/rtp/ntp"
	"github.com/deltacdn/delta/internal/rtp/seqnum"
)

// maxFaults bounds the faults that are described; all are counted.
const maxFaults = 20

// A receivedTrack gathers what comes of one track. It is guarded by the
// viewer's mu.
type receivedTrack struct {
	report     TrackReport
	extensions map[uint8]string // URIs by id
	seq        seqnum.Seq
	time       seqnum.Time
	seen       seqSet
	repair     *repairer // nil: lost packets are not asked for
	partial    map[frameID]*partialFrame
	rewinds    []uint64 // the numbers from which on frames come again
	scratch    []byte   // for a payload as it was sent
}

// A frameID tells a frame from all others that can arrive on one track.
type frameID struct {
	seed    uint32
	layer   uint8
	number  uint32
	rewinds int
}

// A partialFrame is a frame of which some packets have come.
type partialFrame struct {
	Frame

	count int
	has   packetSet
}

func newReceivedTrack(remote *webrtc.TrackRemote, receiver *webrtc.RTPReceiver) *receivedTrack {
	c := remote.Codec()
	t := &receivedTrack{
		report: TrackReport{
			ID: remote.ID(), StreamID: remote.StreamID(), Kind: cdnKind(remote.Kind()), SSRC: uint32(remote.SSRC()),
			PayloadType: uint8(c.PayloadType),
			Codec: cdn.Codec{
				MimeType: c.MimeType, ClockRate: c.ClockRate, Channels: c.Channels, Fmtp: c.SDPFmtpLine,
			},
			Extensions: map[string][]byte{},
		},
		extensions: map[uint8]string{},
		partial:    map[frameID]*partialFrame{},
	}
	for _, e := range receiver.GetParameters().HeaderExtensions {
		t.extensions[uint8(e.ID)] = e.URI
	}
	return t
}

// packet takes an RTP packet that came at now, and reports whether a frame is
// whole now that was not before.
func (t *receivedTrack) packet(now time.Time, raw []byte, repaired bool) (whole bool) {
	var p rtp.Packet
	if err := p.Unmarshal(raw); err != nil {
		t.fault("packet cannot be read: %v", err)
		return false
	}
	r := &t.report
	highest := t.seq.Highest()
	seq := t.seq.Unwrap(p.SequenceNumber)
	if t.repair != nil {
		t.repair.received(now, seq)
	}
	if !t.seen.add(seq) {
		r.Duplicates++
		return false
	}
	r.Packets++
	r.Bytes += len(p.Payload)
	if repaired {
		r.Repaired++
	}
	if seq < highest {
		r.Reordered++
	}
	for _, id := range p.GetExtensionIDs() {
		uri, value := t.extensions[id], p.GetExtension(id)
		if last, known := r.Extensions[uri]; !known || !bytes.Equal(last, value) { // reports share what they have
			r.Extensions[uri] = append([]byte(nil), value...)
		}
	}
	return t.media(now, &p, seq)
}

// media takes what the packet carries.
func (t *receivedTrack) media(now time.Time, p *rtp.Packet, seq uint64) (whole bool) {
	r := &t.report
	if len(p.Payload) == 0 {
		r.Padding++
		return false
	}
	b, at, ok := findBody(p.Payload)
	switch {
	case !ok:
		t.fault("packet %d holds nothing that a publisher sent", seq)
		return false
	case !samePayload(r.Codec.MimeType, b, at, p.Payload, &t.scratch):
		t.fault("packet %d: payload of frame %d, packet %d of %d, was changed", seq, b.frame, b.index, b.count)
	case r.Kind == cdn.Video && p.Marker != b.last():
		t.fault("packet %d: marker is %t at packet %d of %d", seq, p.Marker, b.index, b.count)
	}
	if r.First.IsZero() {
		r.First, r.BeganWithKeyframe = now, b.key || r.Kind == cdn.Audio
	}
	return t.frame(now, p, seq, b)
}

// frame adds the packet to its frame.
func (t *receivedTrack) frame(now time.Time, p *rtp.Packet, seq uint64, b body) (whole bool) {
	r := &t.report
	id := t.frameID(b, seq-uint64(b.index))
	f := t.partial[id]
	timestamp := t.time.Unwrap(p.Timestamp)
	if f == nil {
		f = &partialFrame{count: int(b.count), Frame: Frame{
			Seed: b.seed, Layer: int(b.layer), Number: b.frame, Key: b.key, Packets: int(b.count),
			Sequence: seq - uint64(b.index), Timestamp: timestamp, Sent: b.sentAt(),
			Temporal: int(b.temporal.layer), layered: b.temporal.used,
			Rewind: id.rewinds > 0 && t.rewinds[id.rewinds-1] == seq-uint64(b.index),
		}}
		t.partial[id] = f
	}
	if timestamp != f.Timestamp {
		t.fault("packet %d: timestamp %d in frame %d, which has %d", seq, timestamp, b.frame, f.Timestamp)
	}
	if seq-uint64(b.index) != f.Sequence {
		t.fault("packet %d: not at its place in frame %d", seq, b.frame)
	}
	if !f.Done.IsZero() || !f.has.add(b.index) {
		t.fault("packet %d: packet %d of frame %d again", seq, b.index, b.frame)
		return false
	}
	f.Bytes += len(p.Payload)
	if f.has.count < f.count {
		return false
	}
	f.Done = now
	f.has = packetSet{}
	r.Frames = append(r.Frames, f.Frame)
	return true
}

// frameID returns which frame a packet is of, which begins at sequence number
// start. Where a server goes on from another source, a keyframe may come a second
// time, and what followed it.
func (t *receivedTrack) frameID(b body, start uint64) frameID {
	id := frameID{seed: b.seed, layer: b.layer, number: b.frame}
	for id.rewinds < len(t.rewinds) && t.rewinds[id.rewinds] <= start {
		id.rewinds++
	}
	f := t.partial[id]
	if b.key && id.rewinds == len(t.rewinds) && f != nil && start > f.Sequence && start > t.seq.Highest()-uint64(b.count) {
		t.rewinds = append(t.rewinds, start)
		id.rewinds++
	}
	return id
}

// rtcp takes what the server reports, and reports whether the track ended.
func (t *receivedTrack) rtcp(now time.Time, packets []rtcp.Packet) (ended bool) {
	r := &t.report
	for _, p := range packets {
		switch p := p.(type) {
		case *rtcp.SenderReport:
			if p.SSRC == r.SSRC {
				r.SenderReports = append(r.SenderReports, SenderReport{
					NTP: ntp.Time(p.NTPTime), RTP: p.RTPTime, Packets: p.PacketCount, Bytes: p.OctetCount, Arrived: now,
				})
			}
		case *rtcp.Goodbye:
			for _, ssrc := range p.Sources {
				if ssrc == r.SSRC && r.Bye.IsZero() {
					r.Bye, r.ByeReason, ended = now, p.Reason, true
				}
			}
		}
	}
	return ended
}

func (t *receivedTrack) fault(format string, args ...any) {
	t.report.FaultCount++
	if len(t.report.Faults) < maxFaults {
		t.report.Faults = append(t.report.Faults, fmt.Sprintf(format, args...))
	}
}

// A packetSet is a set of the packets of one frame.
type packetSet struct {
	words []uint64
	count int
}

// add adds the packet with an index and reports whether it was not there.
func (s *packetSet) add(index uint16) bool {
	i, bit := int(index/64), uint64(1)<<(index%64)
	for len(s.words) <= i {
		s.words = append(s.words, 0)
	}
	if s.words[i]&bit != 0 {
		return false
	}
	s.words[i] |= bit
	s.count++
	return true
}

// A seqSet is a set of extended sequence numbers of one track.
type seqSet struct {
	base  uint64 // of words, a multiple of 64
	words []uint64
	count int

	lowest, highest uint64
}

// add adds seq and reports whether it was not there.
func (s *seqSet) add(seq uint64) bool {
	if s.words == nil {
		s.lowest = seq
		s.base = max(seq, 1<<15) - 1<<15 // what the first packet overtook has room
		s.base -= s.base % 64
	}
	if seq < s.base {
		return false
	}
	i := (seq - s.base) / 64
	for uint64(len(s.words)) <= i {
		s.words = append(s.words, 0)
	}
	bit := uint64(1) << (seq % 64)
	if s.words[i]&bit != 0 {
		return false
	}
	s.words[i] |= bit
	s.lowest, s.highest = min(s.lowest, seq), max(s.highest, seq)
	s.count++
	return true
}

// missing returns how many numbers between the lowest and the highest are not
// in the set.
func (s *seqSet) missing() int {
	if s.count == 0 {
		return 0
	}
	return int(s.highest-s.lowest) + 1 - s.count
}
