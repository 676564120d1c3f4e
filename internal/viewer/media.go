package viewer

import (
	"net/netip"
	"time"

	"github.com/pion/rtcp"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/send"
	"github.com/deltacdn/delta/internal/service"
	"github.com/deltacdn/delta/internal/trouble/reason"
	"github.com/deltacdn/delta/internal/udp/egress"
)

var _ service.Timed = (*Session)(nil)

// Consume sends what has come since the last time. A worker of the node calls it with its
// batch.
func (s *Session) Consume(batch *egress.Batch) {
	to := s.To()
	s.media.Into(batch, to)
	var reports []rtcp.Packet
	if room := s.Room(to); room != nil {
		reports = s.set.ConsumeWhile(room, batch.Now(), &s.media)
	} else {
		reports = s.set.Consume(batch.Now(), &s.media)
	}
	if len(reports) > 0 {
		s.sendRTCP(reports)
	}
}

// ServeBy implements [service.Timed].
func (s *Session) ServeBy(serveAt func(time.Time)) { s.set.ServeBy(serveAt) }

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
		return nil // does not happen: the packets are ours
	}
	return raw
}

// sendRTCP sends a compound packet ahead of media.
func (s *Session) sendRTCP(packets []rtcp.Packet) { s.SendRTCP(s.compound(packets)) }

// Connected implements [endpoint.Owner].
func (s *Session) Connected() error {
	s.playing.Lock()
	defer s.playing.Unlock()
	s.media, s.replies = s.Writer(), s.Writer()
	s.state.connected = true
	if s.connected != nil {
		s.connected()
	}
	if s.state.stream != nil {
		s.startLocked()
	}
	return nil
}

// RTP implements [endpoint.Owner]: a viewer sends no media.
func (s *Session) RTP(time.Time, []byte) (authentic bool) { return false }

// RTCP handles the viewer's feedback. It implements [endpoint.Owner].
func (s *Session) RTCP(now time.Time, compound []byte, to netip.AddrPort) {
	s.replies.Into(s.Replies(), to)
	outcome := s.set.HandleRTCP(now, compound)
	if outcome.TooSlow {
		s.End(cdn.ErrTooSlow)
	}
	if outcome.Question.Kind != 0 {
		s.sendRTCP(send.AnswerTime(s.ssrcs[0], outcome.Question))
	}
}

// Ending stops sending, and says goodbye by a BYE. It implements [endpoint.Owner].
func (s *Session) Ending(err error) (goodbye []byte, ended func()) {
	s.playing.Lock()
	s.state.over = true
	unwatch, detach := s.state.unwatch, s.state.detach
	s.playing.Unlock()
	if unwatch != nil {
		unwatch()
	}
	if detach != nil {
		detach()
	}
	s.set.Close()
	goodbye = s.compound([]rtcp.Packet{
		&rtcp.ReceiverReport{},
		&rtcp.Goodbye{Sources: s.ssrcs, Reason: reason.Word(err)},
	})
	return goodbye, func() {
		if s.ended != nil {
			s.ended(err, s.Stats())
		}
	}
}
