package receive

import (
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"github.com/deltacdn/delta/internal/rtp/transportcc"
)

const (
	reportEvery = time.Second
	// transportEvery is what libwebrtc's receivers come to above 220 kbit/s. Below that
	// they take up to 250 ms, to save 5 % of the rate; but each sender begins there, and
	// waits for the feedback about its probes.
	transportEvery = 50 * time.Millisecond
	// A source that was silent for so long is not reported on.
	reportedFor = 5 * time.Second
	maxBlocks   = 31 // RFC 3550 section 6.4.2
)

// feedback is what a sender is told about all that it sends.
type feedback struct {
	ssrc    uint32 // ours
	cname   string
	reduced bool // reduced-size RTCP was agreed on (RFC 5506)

	// Transport-wide feedback, draft-holmer-rmcat-transport-wide-cc-extensions-01.
	transport   uint8                 // id of the extension, 0: none was agreed on
	recorder    *transportcc.Recorder // nil: none
	begun       time.Time
	transportAt time.Time // when feedback was last sent
	full        bool      // so many packets have come since that it is due
	buffer      []byte    // of what is sent, reused
	empty       []byte    // a report about nothing, ahead of feedback that is not reduced

	// REMB, draft-alvestrand-rmcat-remb.
	remb     bool
	estimate bandwidth
	max      func() int // what the sender may send, in bits a second; 0: there is no bound

	reportAt time.Time // when reports were last sent
	last     time.Time // when a packet came
}

func (f *feedback) init(now time.Time, ssrc uint32, cname string) {
	f.ssrc, f.cname, f.begun, f.reportAt = ssrc, cname, now, now
	if f.transport != 0 {
		f.recorder = transportcc.New(ssrc)
	}
	f.empty = f.compound(&rtcp.ReceiverReport{SSRC: ssrc}, f.sdes())
}

// arrived notes that a packet came.
func (f *feedback) arrived(now time.Time, h *rtp.Header, size int) {
	f.last = now
	f.estimate.bytes += size
	if f.recorder == nil {
		return
	}
	if data := h.GetExtension(f.transport); len(data) >= 2 {
		f.full = f.recorder.Record(h.SSRC, uint16(data[0])<<8|uint16(data[1]), now.Sub(f.begun)) || f.full
	}
}

// transportDue returns a compound packet with the transport-wide feedback that is due,
// behind the reports if there are some; nil: there is nothing to send. It is good until the
// next call.
func (f *feedback) transportDue(now time.Time, reports []byte) []byte {
	if f.recorder == nil || !f.recorder.Pending() || now.Sub(f.transportAt) < transportEvery && !f.full {
		return reports
	}
	f.transportAt, f.full = now, false
	f.buffer = append(f.buffer[:0], reports...)
	if len(reports) == 0 && !f.reduced {
		f.buffer = append(f.buffer, f.empty...)
	}
	f.buffer = f.recorder.Append(f.buffer)
	return f.buffer
}

// reportDue returns the reports that are due, nil: none.
func (f *feedback) reportDue(now time.Time, sources map[uint32]*source) []rtcp.Packet {
	if now.Sub(f.reportAt) < reportEvery {
		return nil
	}
	passed := now.Sub(f.reportAt)
	f.reportAt = now
	report := &rtcp.ReceiverReport{SSRC: f.ssrc}
	var ssrcs []uint32
	lost := uint8(0)
	for _, s := range sources {
		if s.media && now.Sub(s.last) < reportedFor && len(report.Reports) < maxBlocks {
			b, _ := s.stats.Block(now, s.ssrc)
			report.Reports = append(report.Reports, b)
			ssrcs = append(ssrcs, s.ssrc)
			lost = max(lost, b.FractionLost)
		}
	}
	if len(report.Reports) == 0 {
		return nil
	}
	packets := []rtcp.Packet{report, f.sdes()}
	if f.remb {
		packets = append(packets, &rtcp.ReceiverEstimatedMaximumBitrate{
			SenderSSRC: f.ssrc, Bitrate: float32(f.allowance(passed, lost)), SSRCs: ssrcs,
		})
	}
	return packets
}

// allowance returns what the sender is told that it may send. One that has
// transport-wide feedback estimates that itself, and is told the bound alone.
func (f *feedback) allowance(passed time.Duration, lost uint8) float64 {
	estimate := f.estimate.next(passed, lost)
	if f.transport != 0 {
		estimate = mostEstimate
	}
	if most := f.max(); most > 0 {
		return min(estimate, float64(most))
	}
	return estimate
}

func (f *feedback) sdes() *rtcp.SourceDescription {
	return &rtcp.SourceDescription{Chunks: []rtcp.SourceDescriptionChunk{{
		Source: f.ssrc, Items: []rtcp.SourceDescriptionItem{{Type: rtcp.SDESCNAME, Text: f.cname}},
	}}}
}

// compound returns packets as they are sent: behind a report, unless reduced-size
// RTCP was agreed on (RFC 3550 section 6.1).
func (f *feedback) compound(packets ...rtcp.Packet) []byte {
	if len(packets) == 0 {
		return nil
	}
	if _, report := packets[0].(*rtcp.ReceiverReport); !report && !f.reduced {
		packets = append([]rtcp.Packet{&rtcp.ReceiverReport{SSRC: f.ssrc}, f.sdes()}, packets...)
	}
	raw, err := rtcp.Marshal(packets)
	if err != nil {
		return nil // what we make can be marshaled
	}
	return raw
}

// bandwidth is what a sender that knows nothing better than REMB is told that it may
// send: twice what came, so that it can grow, or less than that, if much is lost.
type bandwidth struct{ bytes int }

const (
	leastEstimate = 500_000 // bits a second
	mostEstimate  = 50_000_000
)

// next returns the estimate for the time to come.
func (b *bandwidth) next(passed time.Duration, lost uint8) (bitsPerSecond float64) {
	rate := float64(b.bytes) * 8 / passed.Seconds()
	b.bytes = 0
	const tenPercent = 26 // of 256
	if lost > tenPercent {
		return max(leastEstimate/5, 0.85*rate)
	}
	return min(max(leastEstimate, 2*rate), mostEstimate)
}
