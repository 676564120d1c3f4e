package link

import (
	"slices"
	"time"

	"github.com/pion/rtcp"

	"github.com/deltacdn/delta/internal/rtp/feedback"
	"github.com/deltacdn/delta/internal/rtp/ntp"
)

// maxBlocks bounds a receiver report (RFC 3550 section 6.4.2).
const maxBlocks = 31

// A laterRequest is a request that is sent once more.
type laterRequest struct {
	at     time.Time
	packet rtcp.Packet
}

// receiveRTCP takes the other node's reports and requests.
func (m *media) receiveRTCP(now time.Time, compound []byte) {
	m.alive(now)
	r := feedback.Read(compound)
	reported, asked := false, false
	for f, ok := r.Next(); ok; f, ok = r.Next() {
		switch f.Kind {
		case feedback.SenderReport:
			m.senderReport(now, f)
		case feedback.Arrivals:
			m.transportFeedback(now, f.Packet)
		default:
			reported = reported || f.Kind == feedback.Report
			asked = asked || f.Kind == feedback.Nack
			m.feedback(now, f)
		}
	}
	trunk := m.link.adaptation.trunk
	if reported {
		rtt, _ := m.link.talk.probed()
		trunk.Reported(now, rtt)
	}
	if reported || asked {
		m.wakeIf(trunk.Complains(now))
	}
}

// transportFeedback takes transport-wide feedback, which is about the link as a whole.
func (m *media) transportFeedback(now time.Time, packet []byte) {
	m.wakeIf(m.link.adaptation.trunk.Feedback(now, packet))
}

// wakeIf has the link's adaptation run at once if that is urgent.
func (m *media) wakeIf(urgent bool) {
	if urgent {
		m.link.adaptation.urgent.Store(true)
		m.link.talk.wake()
	}
}

func (m *media) senderReport(now time.Time, f feedback.Message) {
	m.mu.RLock()
	s := m.sources[f.SSRC]
	m.mu.RUnlock()
	if s != nil && s.original == nil {
		s.mu.Lock()
		s.stats.SenderReport(now, f.NTP)
		s.mu.Unlock()
		s.input.SenderReport(now, ntp.Time(f.NTP), f.RTP)
	}
}

// feedback routes a message to the stream that it is about.
func (m *media) feedback(now time.Time, f feedback.Message) {
	m.mu.RLock()
	s := m.senders[f.SSRC]
	m.mu.RUnlock()
	if s != nil {
		s.handle(now, f)
	}
}

// sendRTCP sends a compound packet (RFC 3550 section 6.1). It begins with an empty
// receiver report, which names the link and not one of its many sources.
func (m *media) sendRTCP(packets ...rtcp.Packet) {
	raw, err := rtcp.Marshal(append([]rtcp.Packet{&rtcp.ReceiverReport{SSRC: m.ssrc}}, packets...))
	if err != nil {
		return // what we make can be marshaled
	}
	m.link.conn.SendRTCP(raw)
}

// request sends a NACK or a request for a keyframe, and once more a little later. The
// other node answers once, so the second one costs next to nothing; a lost request
// costs a round trip.
func (m *media) request(p rtcp.Packet) {
	m.sendRTCP(p)
	m.mu.Lock()
	if len(m.repeats) < maxRepeats {
		m.repeats = append(m.repeats, laterRequest{at: time.Now().Add(repeatAfter), packet: p})
	}
	m.mu.Unlock()
	m.link.talk.wake()
}

// repeatRequests sends the requests again that are due, and returns when the next one
// is, zero: there is none.
func (m *media) repeatRequests(now time.Time) (next time.Time) {
	m.mu.Lock()
	n := 0
	for n < len(m.repeats) && !m.repeats[n].at.After(now) {
		n++
	}
	due := slices.Clone(m.repeats[:n])
	m.repeats = slices.Delete(m.repeats, 0, n)
	if len(m.repeats) > 0 {
		next = m.repeats[0].at
	}
	m.mu.Unlock()
	for _, r := range due {
		m.sendRTCP(r.packet)
	}
	return next
}

// tend sends what is due, and returns when something is due next.
func (m *media) tend(now time.Time) (next time.Time) {
	next = m.report(now)
	for _, at := range []time.Time{m.repeatRequests(now), m.tellArrivals(now)} {
		if !at.IsZero() && at.Before(next) {
			next = at
		}
	}
	return next
}

// report sends receiver reports if they are due, and returns when they will be due
// next.
func (m *media) report(now time.Time) (next time.Time) {
	if due := m.reported.Add(reportEvery); now.Before(due) {
		return due
	}
	m.reported = now
	m.forgetEarly()
	m.mu.RLock()
	var blocks []rtcp.ReceptionReport
	for _, s := range m.sources {
		if s.original == nil {
			s.mu.Lock()
			if b, ok := s.stats.Block(now, s.ssrc); ok {
				blocks = append(blocks, b)
			}
			s.mu.Unlock()
		}
	}
	m.mu.RUnlock()
	for some := range slices.Chunk(blocks, maxBlocks) {
		m.sendRTCP(&rtcp.ReceiverReport{SSRC: m.ssrc, Reports: some})
	}
	return now.Add(reportEvery)
}
