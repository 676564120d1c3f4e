package receive

import (
	"encoding/binary"
	"time"

	"github.com/deltacdn/delta/internal/rtp/ntp"
)

// rtcp takes what the sender says in a compound packet (RFC 3550 section 6): a
// report of each source, and that one has ended. Packets that cannot be read are
// passed over.
func (r *receiver) rtcp(now time.Time, compound []byte) {
	const senderReport, goodbye, header, info = 200, 203, 4, 20
	for len(compound) >= header && compound[0]>>6 == 2 {
		n := header * (1 + int(binary.BigEndian.Uint16(compound[2:])))
		if n > len(compound) {
			return
		}
		packet, count := compound[header:n], int(compound[0]&31)
		switch kind := compound[1]; {
		case kind == senderReport && len(packet) >= header+info:
			r.reported(now, binary.BigEndian.Uint32(packet), binary.BigEndian.Uint64(packet[4:]), binary.BigEndian.Uint32(packet[12:]))
		case kind == goodbye:
			for ; count > 0 && len(packet) >= 4; count, packet = count-1, packet[4:] {
				if s := r.sources[binary.BigEndian.Uint32(packet)]; s != nil {
					s.ended = true
				}
			}
		}
		compound = compound[n:]
	}
}

// reported takes a sender report.
func (r *receiver) reported(now time.Time, ssrc uint32, clock uint64, timestamp uint32) {
	s := r.sources[ssrc]
	if s == nil {
		return
	}
	s.report = &senderReport{at: now, ntp: clock, rtp: timestamp}
	s.stats.SenderReport(now, clock)
	if s.feeds() {
		s.layer.input.SenderReport(now, ntp.Time(clock), timestamp)
	}
}
