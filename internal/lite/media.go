package lite

import (
	"net/netip"
	"time"

	"github.com/pion/rtcp"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/dtlssrtp"
	"github.com/deltacdn/delta/internal/egress"
	"github.com/deltacdn/delta/internal/reason"
	"github.com/deltacdn/delta/internal/send"
)

// writer seals packets straight into a batch. One goroutine at a time uses it.
type writer struct {
	out   *dtlssrtp.Sealer // nil before the handshake
	batch *egress.Batch
	to    netip.AddrPort
}

// WriteRTP implements send.RTPWriter.
func (w *writer) WriteRTP(header, payload []byte) (int, error) {
	return w.out.RTP(w.batch, w.to, header, payload), nil
}

// Consume sends what has come since the last time. A worker of the node calls
// it, with its batch.
func (s *Session) Consume(batch *egress.Batch) {
	s.media.batch = batch
	s.media.to = s.to()
	if reports := s.set.Consume(batch.Now(), &s.media); len(reports) > 0 {
		s.sendRTCP(reports)
	}
}

func (s *Session) to() netip.AddrPort {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ice.addr
}

// sendRTCP sends a compound packet (RFC 3550 section 6.1) ahead of media.
func (s *Session) sendRTCP(packets []rtcp.Packet) {
	sdes := &rtcp.SourceDescription{}
	for _, ssrc := range s.ssrcs {
		sdes.Chunks = append(sdes.Chunks, rtcp.SourceDescriptionChunk{
			Source: ssrc, Items: []rtcp.SourceDescriptionItem{{Type: rtcp.SDESCNAME, Text: s.cname}},
		})
	}
	raw, err := rtcp.Marshal(append(packets[:len(packets):len(packets)], sdes))
	if err != nil {
		return // what we make can be marshaled
	}
	sealed, err := s.dtls.keys.out.RTCP(raw)
	if err == nil {
		_ = s.config.Transport.Port.Send(sealed, s.to()) // the next one is as good
	}
}

func (s *Session) sendBye() {
	s.sendRTCP([]rtcp.Packet{
		&rtcp.ReceiverReport{},
		&rtcp.Goodbye{Sources: s.ssrcs, Reason: reason.Word(s.Err())},
	})
}

// Receive takes a datagram that the port's reader has found to be ours
// (RFC 7983 tells them apart by the first byte). It may write over it.
func (s *Session) Receive(now time.Time, packet []byte, from netip.AddrPort) (routine bool) {
	if len(packet) == 0 {
		return false
	}
	connected := false
	switch first := packet[0]; {
	case first < 4:
		connected = s.receiveCheck(now, packet, from)
	case first >= 20 && first < 64:
		connected = s.receiveRecord(now, packet, from)
	case first >= 128 && first < 192 && len(packet) > 1 && packet[1] >= 192 && packet[1] < 224:
		connected = s.receiveRTCP(now, packet, from)
	}
	return connected && s.set.Idle(now) // the viewer waits for media
}

// receiveRTCP takes the viewer's feedback. That it is authentic shows that the
// handshake is over on the other side too, and DTLS can be set aside.
func (s *Session) receiveRTCP(now time.Time, packet []byte, from netip.AddrPort) (connected bool) {
	k := s.dtls.established.Load()
	if k == nil {
		return false
	}
	compound := k.open(now, packet)
	if compound == nil {
		return false
	}
	connected, s.again.to = s.heard(now, from)
	if s.set.Hear(now, compound) {
		s.End(cdn.ErrTooSlow)
	}
	if answer := send.AnswerTime(s.ssrcs[0], compound); answer != nil {
		s.sendRTCP(answer)
	}
	return connected
}

// heard notes that the viewer lives, and returns where.
func (s *Session) heard(now time.Time, from netip.AddrPort) (connected bool, to netip.AddrPort) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ice.heardFrom(now, from)
	s.freezeLocked()
	return s.dtls.frozen, s.ice.addr
}
