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
	s.media.to = s.To()
	if reports := s.set.Consume(batch.Now(), &s.media); len(reports) > 0 {
		s.sendRTCP(reports)
	}
}

// compound returns a compound packet (RFC 3550 section 6.1).
func (s *Session) compound(packets []rtcp.Packet) []byte {
	sdes := &rtcp.SourceDescription{}
	for _, ssrc := range s.ssrcs {
		sdes.Chunks = append(sdes.Chunks, rtcp.SourceDescriptionChunk{
			Source: ssrc, Items: []rtcp.SourceDescriptionItem{{Type: rtcp.SDESCNAME, Text: s.cname}},
		})
	}
	raw, err := rtcp.Marshal(append(packets[:len(packets):len(packets)], sdes))
	if err != nil {
		return nil // what we make can be marshaled
	}
	return raw
}

// sendRTCP sends a compound packet ahead of media.
func (s *Session) sendRTCP(packets []rtcp.Packet) { s.SendRTCP(s.compound(packets)) }

// Connected implements [endpoint.Owner].
func (s *Session) Connected(_ dtlssrtp.Keys, out *dtlssrtp.Sealer) {
	s.playing.Lock()
	defer s.playing.Unlock()
	s.media.out, s.again.out = out, out
	s.said.connected = true
	if s.said.stream != nil {
		s.startLocked()
	}
}

// RTP implements [endpoint.Owner]: a viewer sends no media.
func (s *Session) RTP(time.Time, []byte) (authentic bool) { return false }

// RTCP takes the viewer's feedback. It implements [endpoint.Owner].
func (s *Session) RTCP(now time.Time, compound []byte, to netip.AddrPort) {
	s.again.to = to
	if s.set.Hear(now, compound) {
		s.End(cdn.ErrTooSlow)
	}
	if answer := send.AnswerTime(s.ssrcs[0], compound); answer != nil {
		s.sendRTCP(answer)
	}
}

// Idle implements [endpoint.Owner].
func (s *Session) Idle(now time.Time) bool { return s.set.Idle(now) }

// Ending stops sending, and says goodbye by a BYE. It implements [endpoint.Owner].
func (s *Session) Ending(err error) (goodbye []byte) {
	s.playing.Lock()
	s.said.over = true
	unwatch, detach := s.said.unwatch, s.said.detach
	s.playing.Unlock()
	if unwatch != nil {
		unwatch()
	}
	if detach != nil {
		detach()
	}
	s.set.Close()
	return s.compound([]rtcp.Packet{
		&rtcp.ReceiverReport{},
		&rtcp.Goodbye{Sources: s.ssrcs, Reason: reason.Word(err)},
	})
}

// Ended implements [endpoint.Owner].
func (s *Session) Ended(err error) {
	if s.config.Ended != nil {
		s.config.Ended(err, s.Stats())
	}
}
