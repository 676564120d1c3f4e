package pcrecv

import (
	"slices"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/rtp/ntp"
	"github.com/deltacdn/delta/internal/sdp"
)

// A layer is read by one goroutine for its packets and one for its reports.
type layer struct {
	session *Session
	remote  *webrtc.TrackRemote
	input   *cdn.LayerInput
	choice  *sdp.Choice
}

// readRTP takes each packet from the socket to the ring. The buffers are its own and used
// again. PeerConnections hand out one packet at a time, so a frame is gathered here for a
// node's many receivers.
func (l *layer) readRTP() {
	ids := l.extensionIDs()
	buf := make([]byte, 1600)
	var p rtp.Packet
	var ext []cdn.Ext
	var together cdn.Arrivals
	for {
		n, _, err := l.remote.Read(buf)
		if err != nil {
			return
		}
		now := time.Now()
		if err := p.Unmarshal(buf[:n]); err != nil || p.PayloadType != l.choice.Codec.PT {
			l.session.got.dropped.Add(1)
			continue
		}
		l.session.got.packets.Add(1)
		l.session.got.bytes.Add(uint64(n))
		l.session.sent(now, len(p.Payload))
		ext = ext[:0]
		for _, id := range ids {
			if data := p.GetExtension(id.theirs); data != nil {
				ext = append(ext, cdn.Ext{ID: id.ours, Data: data})
			}
		}
		together.Write(l.input, now, &p, ext)
		together.Flush()
	}
}

type extensionID struct{ theirs, ours uint8 }

// extensionIDs pairs the sender's ids with those of the stream's track, which
// another sender may have declared.
func (l *layer) extensionIDs() []extensionID {
	var ids []extensionID
	for i, uri := range l.input.Track().Info().Extensions {
		if theirs := l.choice.Media.Extensions[uri]; theirs != 0 {
			ids = append(ids, extensionID{theirs: theirs, ours: uint8(i + 1)})
		}
	}
	return ids
}

// readRTCP takes the sender's reports.
func (l *layer) readRTCP(receiver *webrtc.RTPReceiver) {
	read := receiver.ReadRTCP
	if rid := l.remote.RID(); rid != "" {
		read = func() ([]rtcp.Packet, interceptor.Attributes, error) { return receiver.ReadSimulcastRTCP(rid) }
	}
	for {
		packets, _, err := read()
		if err != nil {
			return
		}
		now := time.Now()
		for _, p := range packets {
			switch p := p.(type) {
			case *rtcp.SenderReport:
				if p.SSRC == uint32(l.remote.SSRC()) {
					l.input.SenderReport(now, ntp.Time(p.NTPTime), p.RTPTime)
				}
			case *rtcp.Goodbye:
				l.session.bye(p)
			}
		}
	}
}

// back asks the sender of one SSRC.
type back struct {
	pc   *webrtc.PeerConnection
	ssrc uint32
	fir  bool // it knows full intra requests only
	seq  uint8
}

func (b *back) RequestKeyframe() {
	var p rtcp.Packet = &rtcp.PictureLossIndication{MediaSSRC: b.ssrc}
	if b.fir {
		b.seq++
		p = &rtcp.FullIntraRequest{MediaSSRC: b.ssrc, FIR: []rtcp.FIREntry{{SSRC: b.ssrc, SequenceNumber: b.seq}}}
	}
	_ = b.pc.WriteRTCP([]rtcp.Packet{p}) // lost or refused, it is repeated
}

func (b *back) Nack(seqs []uint16) {
	slices.Sort(seqs)
	for pairs := range slices.Chunk(rtcp.NackPairsFromSequenceNumbers(seqs), maxPairs) {
		_ = b.pc.WriteRTCP([]rtcp.Packet{&rtcp.TransportLayerNack{MediaSSRC: b.ssrc, Nacks: pairs}})
	}
}

// maxPairs keeps a NACK below the MTU: a pair has four bytes.
const maxPairs = 250

// onlyFIR reports whether the sender of a track takes FIR (RFC 5104) but not
// PLI (RFC 4585).
func (s *Session) onlyFIR(track int) bool {
	fb := s.plan.Choices[track].Codec.Feedback
	return slices.Contains(fb, "ccm fir") && !slices.Contains(fb, "nack pli")
}
