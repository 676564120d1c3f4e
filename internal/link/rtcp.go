package link

import (
	"encoding/binary"
	"time"

	"github.com/pion/rtcp"

	"github.com/deltacdn/delta/internal/ntp"
)

type laterRequest struct {
	at     time.Time
	packet rtcp.Packet
}

// receiveRTCP takes the other node's reports and requests.
func (m *media) receiveRTCP(now time.Time, packet []byte) {
	m.mu.RLock()
	in := m.in
	m.mu.RUnlock()
	if in == nil || len(packet) < 8 || binary.BigEndian.Uint32(packet[4:]) != 3-m.ssrc {
		return
	}
	plain, err := in.Open(packet)
	if err != nil {
		return
	}
	m.link.heard.Store(int64(now.Sub(m.link.begun)))
	for _, p := range readable(plain) {
		switch p := p.(type) {
		case *rtcp.SenderReport:
			m.senderReport(now, p)
		case *rtcp.ReceiverReport:
			for i := range p.Reports {
				m.feedback(now, p.Reports[i].SSRC, &rtcp.ReceiverReport{Reports: p.Reports[i : i+1]})
			}
		case *rtcp.PictureLossIndication:
			m.feedback(now, p.MediaSSRC, p)
		case *rtcp.TransportLayerNack:
			m.feedback(now, p.MediaSSRC, p)
		}
	}
}

// readable returns those packets of a compound that can be read: one that cannot,
// as of a version to come, does not hide the others.
func readable(compound []byte) (packets []rtcp.Packet) {
	for len(compound) >= 4 {
		n := min(len(compound), 4*(int(binary.BigEndian.Uint16(compound[2:]))+1)) // RFC 3550 section 6.4.1
		if one, err := rtcp.Unmarshal(compound[:n]); err == nil {
			packets = append(packets, one...)
		}
		compound = compound[n:]
	}
	return packets
}

func (m *media) senderReport(now time.Time, p *rtcp.SenderReport) {
	m.mu.RLock()
	s := m.sources[p.SSRC]
	m.mu.RUnlock()
	if s != nil && s.original == nil {
		s.stats.reported(now, ntp.Middle(p.NTPTime))
		s.input.SenderReport(now, ntp.Time(p.NTPTime), p.RTPTime)
	}
}

func (m *media) feedback(now time.Time, ssrc uint32, p rtcp.Packet) {
	m.mu.RLock()
	s := m.senders[ssrc]
	m.mu.RUnlock()
	if s != nil {
		s.take(now, p)
	}
}

// sendRTCP sends a compound packet (RFC 3550 section 6.1), which an empty
// receiver report begins: it names the link, and not one of its many sources.
func (m *media) sendRTCP(packets ...rtcp.Packet) {
	m.mu.RLock()
	out, ssrc := m.out, m.ssrc
	m.mu.RUnlock()
	if out == nil {
		return
	}
	raw, err := rtcp.Marshal(append([]rtcp.Packet{&rtcp.ReceiverReport{SSRC: ssrc}}, packets...))
	if err != nil {
		return // what we make can be marshaled
	}
	if sealed, err := out.RTCP(raw); err == nil {
		_ = m.link.path.send(sealed) // the next one is as good
	}
}

// request sends a NACK or a request for a keyframe, and once more a little later:
// the other node answers once, so that costs next to nothing, and a lost request is
// what would cost the most.
func (m *media) request(p rtcp.Packet) {
	m.sendRTCP(p)
	m.mu.Lock()
	if len(m.repeats) < maxRepeats {
		m.repeats = append(m.repeats, laterRequest{at: time.Now().Add(repeatAfter), packet: p})
	}
	m.mu.Unlock()
	m.link.wake()
}

// repeatRequests sends those again that are due, and returns when the next one is.
func (m *media) repeatRequests(now time.Time) (next time.Time) {
	for {
		m.mu.Lock()
		if len(m.repeats) == 0 {
			m.mu.Unlock()
			return time.Time{}
		}
		first := m.repeats[0]
		if first.at.After(now) {
			m.mu.Unlock()
			return first.at
		}
		m.repeats = append(m.repeats[:0], m.repeats[1:]...)
		m.mu.Unlock()
		m.sendRTCP(first.packet)
	}
}

// tend sends what is due, and returns when something will be next.
func (m *media) tend(now time.Time) (next time.Time) {
	next = m.report(now)
	if at := m.repeatRequests(now); !at.IsZero() && at.Before(next) {
		return at
	}
	return next
}

// report sends receiver reports when they are due, and returns when they will be
// next.
func (m *media) report(now time.Time) (next time.Time) {
	if due := m.reported.Add(reportEvery); now.Before(due) {
		return due
	}
	m.reported = now
	if !m.link.awaits() {
		m.mu.Lock()
		m.held, m.heldLen = nil, 0 // it is nobody's any more
		m.mu.Unlock()
	}
	m.mu.RLock()
	var blocks []rtcp.ReceptionReport
	for _, s := range m.sources {
		if s.original == nil {
			if b, ok := s.stats.block(now); ok {
				b.SSRC = s.ssrc
				blocks = append(blocks, b)
			}
		}
	}
	m.mu.RUnlock()
	const most = 31 // of a report (RFC 3550 section 6.4.2)
	for len(blocks) > 0 {
		n := min(len(blocks), most)
		m.sendRTCP(&rtcp.ReceiverReport{SSRC: m.ssrc, Reports: blocks[:n]})
		blocks = blocks[n:]
	}
	return now.Add(reportEvery)
}
