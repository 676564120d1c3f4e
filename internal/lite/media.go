package lite

import (
	"net/netip"
	"time"

	"github.com/pion/rtcp"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/dtlssrtp"
	"github.com/deltacdn/delta/internal/egress"
	"github.com/deltacdn/delta/internal/icecheck"
	"github.com/deltacdn/delta/internal/reason"
	"github.com/deltacdn/delta/internal/send"
)

// writer seals packets straight into a batch. One goroutine at a time uses it.
type writer struct {
	session *Session
	batch   *egress.Batch
	to      netip.AddrPort
}

// WriteRTP implements send.RTPWriter.
func (w *writer) WriteRTP(header, payload []byte) (int, error) {
	return w.session.keys.out.RTP(w.batch, w.to, header, payload), nil
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
	return s.addr
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
	sealed, err := s.keys.out.RTCP(raw)
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

// receiveCheck answers a connectivity check, and makes one of our own in return
// where that is needed. It reports whether the viewer is connected.
func (s *Session) receiveCheck(now time.Time, packet []byte, from netip.AddrPort) (connected bool) {
	if icecheck.IsAnswer(packet) {
		return s.receiveAnswer(now, packet, from)
	}
	answer, ours, connected := s.answerCheck(now, packet, from)
	if answer != nil {
		_ = s.config.Transport.Port.Send(answer, from) // lost, it is asked for again
	}
	if ours != nil {
		_ = s.config.Transport.Port.Send(ours, from)
	}
	return connected
}

// answerCheck returns the answer to a check, nil if it is not authentic, and the
// check of ours in return, nil: none.
func (s *Session) answerCheck(now time.Time, packet []byte, from netip.AddrPort) (answer, ours []byte, connected bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return nil, nil, false
	}
	c, err := s.config.Transport.Checks.Read(packet, s.passwordLocked)
	if err != nil {
		return nil, nil, s.frozen
	}
	if answer, err = c.Respond(from); err != nil {
		return nil, nil, s.frozen
	}
	if !c.Controlled {
		ours = s.checkedLocked(now, from, c.Nominates, len(packet), len(answer))
	}
	return answer, ours, s.frozen
}

// receiveAnswer takes the answer to a check of ours.
func (s *Session) receiveAnswer(now time.Time, packet []byte, from netip.AddrPort) (connected bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if id, ok := icecheck.ReadAnswer(packet, s.remote.ice.Pwd); ok && !s.stopped {
		s.answeredLocked(now, from, id)
	}
	return s.frozen
}

func (s *Session) passwordLocked(ufrag string) (string, bool) {
	for _, c := range s.ice {
		if c.Ufrag == ufrag {
			return c.Pwd, true
		}
	}
	return "", false
}

// receiveRecord gives a DTLS record to the connection. The first one begins the
// handshake, but only towards an address that is proved; when DTLS is set aside,
// only an alert is of interest.
func (s *Session) receiveRecord(now time.Time, record []byte, from netip.AddrPort) (connected bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.stopped || !s.addr.IsValid():
	case s.keys != nil && !dtlssrtp.Protected(record, !s.frozen):
		// Anybody may have written it.
	case s.frozen && record[0] == alertRecord:
		s.alertLocked(record)
	case s.frozen:
	case s.pipe != nil:
		s.pipe.Put(record)
	case s.provedLocked() && dtlssrtp.IsClientHello(record):
		s.handshakeLocked(record)
	default:
		s.keepLocked(now, record, from)
	}
	return s.frozen
}

// handshakeLocked begins the handshake with what came first.
func (s *Session) handshakeLocked(records ...[]byte) {
	p := dtlssrtp.NewPipe(s.send)
	s.pipe = p
	for _, record := range records {
		p.Put(record)
	}
	for _, path := range s.paths {
		path.early = nil
	}
	s.work.Go(func() { s.dial(p) })
}

// receiveRTCP takes the viewer's feedback. That it is authentic shows that the
// handshake is over on the other side too, and DTLS can be set aside.
func (s *Session) receiveRTCP(now time.Time, packet []byte, from netip.AddrPort) (connected bool) {
	k := s.established.Load()
	if k == nil {
		return false
	}
	compound := k.open(now, packet)
	if compound == nil {
		return false
	}
	connected, s.again.to = s.heardFrom(now, from)
	if s.set.Hear(now, compound) {
		s.End(cdn.ErrTooSlow)
	}
	// Repairs do not wait for others, nor may others wait for the socket here.
	_ = s.again.batch.Flush()
	if answer := send.AnswerTime(s.ssrcs[0], compound); answer != nil {
		s.sendRTCP(answer)
	}
	return connected
}

// heardFrom notes that RTCP came that is authentic, and returns where the viewer
// is.
func (s *Session) heardFrom(now time.Time, from netip.AddrPort) (connected bool, to netip.AddrPort) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := s.findLocked(from); i >= 0 && s.paths[i].proved {
		s.arrivedLocked(now, s.paths[i])
	}
	s.freezeLocked()
	return s.frozen, s.addr
}

// freezeLocked sets the DTLS connection aside: it would hold three goroutines and
// most of a session's memory.
func (s *Session) freezeLocked() {
	if s.frozen || s.stopped {
		return
	}
	s.pipe.Mute(true) // what it says on closing is for later
	state, ok := s.conn.ConnectionState()
	if !ok { // it is closing
		s.pipe.Mute(false)
		return
	}
	s.keys.state, s.frozen, s.conn = state, true, nil
	_ = s.pipe.Close()
	s.pipe = nil
}
