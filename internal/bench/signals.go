package main

import (
	"encoding/binary"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"

	"github.com/deltacdn/delta/internal/sdp"
)

// signals are what viewers offer to tell, and tell, of what comes to them. The zero
// signals are a receiver report a second.
type signals struct {
	// chromium: they offer transport-wide feedback and abs-send-time, and send what
	// Chromium sends. Of packets that have transport-wide numbers that is feedback. While
	// none have, it is an estimate (REMB) each 200 ms.
	chromium bool
	// losses: a report in five says that a twelfth of the video was lost. That is not
	// enough for a server to send less, but to go on estimating.
	losses bool
}

const (
	reportEvery   = time.Second
	estimateEvery = 200 * time.Millisecond
	lossEvery     = 5 // reports
	lossShown     = 21
	estimateRoom  = 1.5 // an estimate is so many times of what comes at most (libwebrtc)
)

// register has offers say that the signals are understood.
func (s signals) register(m *webrtc.MediaEngine) error {
	if !s.chromium {
		return nil
	}
	for _, kind := range []webrtc.RTPCodecType{webrtc.RTPCodecTypeAudio, webrtc.RTPCodecTypeVideo} {
		m.RegisterFeedback(webrtc.RTCPFeedback{Type: webrtc.TypeRTCPFBTransportCC}, kind)
		for _, uri := range []string{sdp.URITransportCC, sdp.URIAbsSendTime} {
			if err := m.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: uri}, kind); err != nil {
				return err
			}
		}
	}
	return nil
}

// interval is how often reception.report is called.
func (s signals) interval() time.Duration {
	if s.chromium {
		return estimateEvery
	}
	return reportEvery
}

// reception is what a viewer knows of the packets that come to it, by their clear headers, and
// has to tell of them.
type reception struct {
	signals signals
	id      uint8 // of the header extension with transport-wide numbers; 0: none; static while connected
	sounds  bool  // what comes of sound is noted

	mu         sync.Mutex
	streams    [2]received // video and sound
	count      receptionCount
	bytes      int // since the last report
	reported   time.Time
	reports    int
	estimate   float64 // bits a second
	numbered   bool    // the newest packet has a transport-wide number
	arrivals   arrivals
	departures []departure
}

// A receptionCount is what was counted so far.
type receptionCount struct {
	numbered uint64 // packets with a transport-wide number
	messages uint64 // of RTCP, sent
}

// received is one RTP stream.
type received struct {
	known   bool
	ssrc    uint32
	highest uint32 // sequence number, extended
}

func (r *received) note(ssrc uint32, seq uint16) {
	if !r.known || r.ssrc != ssrc {
		*r = received{known: true, ssrc: ssrc, highest: uint32(seq)}
	} else if ahead := int16(seq - uint16(r.highest)); ahead > 0 {
		r.highest += uint32(ahead)
	}
}

func newReception(l load) reception {
	return reception{signals: l.signals, sounds: l.stamps, arrivals: arrivals{every: feedbackFirst}}
}

// negotiated takes the answer.
func (h *reception) negotiated(answer string) {
	if h.signals.chromium {
		h.id = extensionID(answer, sdp.URITransportCC)
	}
}

// extensionID returns the id of a header extension in a description; 0: it has none.
func extensionID(description, uri string) uint8 {
	for line := range strings.Lines(description) {
		rest, ok := strings.CutPrefix(strings.TrimSpace(line), "a=extmap:")
		id, name, _ := strings.Cut(rest, " ")
		if !ok || name != uri {
			continue
		}
		id, _, _ = strings.Cut(id, "/") // a direction
		n, err := strconv.ParseUint(id, 10, 8)
		if err == nil {
			return uint8(n)
		}
	}
	return 0
}

// note takes a packet that came at a time (zero: now), and returns the feedback that is due
// then; nil: none is.
func (h *reception) note(b []byte, at time.Time) rtcp.Packet {
	if at.IsZero() && (h.id != 0 || h.sounds) {
		at = time.Now()
	}
	seq, ssrc, kind := binary.BigEndian.Uint16(b[2:]), binary.BigEndian.Uint32(b[8:]), b[1]&0x7f
	h.mu.Lock()
	defer h.mu.Unlock()
	h.bytes += len(b)
	switch kind {
	case videoType:
		h.streams[0].note(ssrc, seq)
	case soundType:
		h.streams[1].note(ssrc, seq)
		if h.sounds {
			h.departures = append(h.departures, departure{binary.BigEndian.Uint32(b[4:]), at.UnixNano()})
		}
	}
	if h.id == 0 {
		return nil
	}
	n, ok := number(b, h.id)
	h.numbered = ok
	if !ok {
		return nil
	}
	h.count.numbered++
	h.arrivals.note(n, at)
	feedback := h.arrivals.take(at, ssrc)
	if feedback == nil {
		return nil
	}
	h.count.messages++
	return feedback
}

// number returns the transport-wide number of a packet, in the one-byte form of header
// extensions (RFC 8285 section 4.2).
func number(b []byte, id uint8) (n uint16, ok bool) {
	const fixed, oneByte = 12, 0xbede
	at := fixed + 4*int(b[0]&15)
	if b[0]&0x10 == 0 || len(b) < at+4 || binary.BigEndian.Uint16(b[at:]) != oneByte {
		return 0, false
	}
	block := b[at+4:]
	block = block[:min(4*int(binary.BigEndian.Uint16(b[at+2:])), len(block))]
	for len(block) > 2 {
		size := 2 + int(block[0]&15)
		switch block[0] >> 4 {
		case 0: // padding
			size = 1
		case id:
			return binary.BigEndian.Uint16(block[1:]), size == 3
		}
		block = block[min(size, len(block)):]
	}
	return 0, false
}

// report returns what is told besides feedback: of what came a second, and an estimate if
// the packets that come have no transport-wide numbers.
func (h *reception) report(now time.Time) (packets []rtcp.Packet) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if past := now.Sub(h.reported); past >= reportEvery-estimateEvery/2 {
		if !h.reported.IsZero() {
			rate := float64(8*h.bytes) / past.Seconds()
			h.estimate = max(h.estimate, estimateRoom*rate)
			h.arrivals.every = feedbackInterval(rate)
		}
		h.bytes, h.reported = 0, now
		h.reports++
		packets = append(packets, h.blocks())
	}
	if h.signals.chromium && !h.numbered && h.estimate > 0 {
		packets = append(packets, &rtcp.ReceiverEstimatedMaximumBitrate{Bitrate: float32(h.estimate), SSRCs: []uint32{h.streams[0].ssrc}})
	}
	if len(packets) > 0 {
		h.count.messages++
	}
	return packets
}

// blocks returns a receiver report.
func (h *reception) blocks() rtcp.Packet {
	r := &rtcp.ReceiverReport{}
	for i, s := range h.streams {
		if !s.known {
			continue
		}
		block := rtcp.ReceptionReport{SSRC: s.ssrc, LastSequenceNumber: s.highest}
		if i == 0 && h.signals.losses && h.reports%lossEvery == 0 {
			block.FractionLost = lossShown
		}
		r.Reports = append(r.Reports, block)
	}
	return r
}

// counted returns what was counted so far.
func (h *reception) counted() receptionCount {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.count
}

// left returns the packets of sound that were noted since it was last called.
func (h *reception) left() []departure {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := h.departures
	h.departures = nil
	return all
}
