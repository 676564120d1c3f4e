package cdntest

import (
	"encoding/binary"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/rtp/ntp"
)

// The header extensions whose values a publisher knows (RFC 9143, RFC 8852,
// RFC 6464, and two of WebRTC's own).
const (
	midURI            = "urn:ietf:params:rtp-hdrext:sdes:mid"
	ridURI            = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"
	repairedRIDURI    = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id"
	audioLevelURI     = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
	absCaptureTimeURI = "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time"
	absSendTimeURI    = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time"
)

// audioRate is the frames a second of audio: 20 ms each.
const audioRate = 50

// A sendTrack is a publisher's track.
type sendTrack struct {
	// Static after addTo.
	kind   cdn.Kind
	codec  cdn.Codec
	seed   uint32
	fps    int
	packet int // the size of the largest payload
	begins time.Duration
	base   uint32
	layers []*sendLayer
	sender *webrtc.RTPSender
	mid    func() string

	// Owned by Publisher.run.
	extensions []webrtc.RTPHeaderExtensionParameter
	number     uint32
	nextReport time.Time
}

// A sendLayer is one RTP encoding of a track.
type sendLayer struct {
	// Static after addTo.
	VideoLayer

	index   uint8
	framing framing
	deaf    bool // to requests for keyframes
	layered bool // in three temporal layers
	local   *webrtc.TrackLocalStaticRTP
	ssrc    uint32

	keyframe atomic.Bool // wanted
	paused   atomic.Bool

	// Owned by Publisher.run.
	seq      uint16
	sinceKey int // frames since the last keyframe; 0 before the first
	tl0      uint8

	mu   sync.Mutex
	sent SentLayer
}

func newVideoTrack(v Video, codec cdn.Codec, seed uint32) *sendTrack {
	t := &sendTrack{
		kind: cdn.Video, codec: codec, seed: seed, fps: v.FPS, packet: v.PayloadSize, begins: v.Begins, base: rand.Uint32(),
	}
	before := 0 // frames since the last keyframe, ahead of the first that is sent
	if v.NoFirstKeyframe {
		before = 1
	}
	for i, l := range v.Layers {
		t.layers = append(t.layers, &sendLayer{
			VideoLayer: l,
			index:      uint8(i),
			framing:    newFraming(l.Bitrate, v.FPS, v.KeyframeInterval, v.KeyframeScale),
			deaf:       v.NoRequestedKeyframes,
			layered:    v.Temporal,
			seq:        uint16(rand.Uint32()),
			sinceKey:   before,
		})
	}
	return t
}

func newAudioTrack(a Audio, codec cdn.Codec, seed uint32) *sendTrack {
	size := max(1, a.Bitrate/8/audioRate)
	return &sendTrack{
		kind: cdn.Audio, codec: codec, seed: seed, fps: audioRate, packet: max(size, bodySize+1), begins: a.Begins, base: rand.Uint32(),
		layers: []*sendLayer{{framing: framing{delta: size, key: size, gop: 1}, seq: uint16(rand.Uint32())}},
	}
}

// addTo makes the track part of pc's next offer.
func (t *sendTrack) addTo(pc *webrtc.PeerConnection) error {
	for _, l := range t.layers {
		var options []func(*webrtc.TrackLocalStaticRTP)
		if l.RID != "" {
			options = append(options, webrtc.WithRTPStreamID(l.RID))
		}
		local, err := webrtc.NewTrackLocalStaticRTP(capability(t.codec, nil), t.kind.String(), "cdntest", options...)
		if err != nil {
			return err
		}
		l.local = local
		if t.sender != nil {
			if err := t.sender.AddEncoding(local); err != nil {
				return err
			}
			continue
		}
		transceiver, err := pc.AddTransceiverFromTrack(local,
			webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
		if err != nil {
			return err
		}
		t.sender, t.mid = transceiver.Sender(), transceiver.Mid
	}
	for i, e := range t.sender.GetParameters().Encodings {
		l := t.layers[i]
		l.ssrc = uint32(e.SSRC)
		l.sent.RID, l.sent.SSRC = l.RID, l.ssrc
	}
	return nil
}

// negotiated reads what the server agreed to.
func (t *sendTrack) negotiated() {
	t.extensions = t.sender.GetParameters().HeaderExtensions
}

// elapsed returns when frame n is due, counted from frame 0.
func (t *sendTrack) elapsed(n int) time.Duration {
	return time.Duration(n) * time.Second / time.Duration(t.fps)
}

// timestamp returns the RTP timestamp of frame n.
func (t *sendTrack) timestamp(n int) uint32 {
	return t.base + uint32(uint64(n)*uint64(t.codec.ClockRate)/uint64(t.fps))
}

func (t *sendTrack) requireKeyframes() {
	for _, l := range t.layers {
		l.keyframe.Store(true)
	}
}

// sendFrame sends frame n, in all layers, in one burst.
func (t *sendTrack) sendFrame(n int, now time.Time) {
	for _, l := range t.layers {
		if l.paused.Load() {
			l.keyframe.Store(true)
			continue
		}
		key := l.startFrame() && t.kind == cdn.Video
		size := l.framing.delta
		if key {
			size = l.framing.key
		}
		count, each := split(size, t.packet)
		b := body{
			seed: t.seed, layer: l.index, key: key, width: uint16(l.Width), height: uint16(l.Height),
			frame: t.number, count: uint16(count), sent: now.UnixNano(), temporal: l.place(),
		}
		header := rtp.Header{Version: 2, Timestamp: t.timestamp(n)}
		var bytes int
		for i := range count {
			b.index = uint16(i)
			p := payload(t.codec.MimeType, b, each)
			header.Marker = t.kind == cdn.Video && b.last()
			t.write(l, header, p, now)
			bytes += len(p)
		}
		l.count(SentFrame{Number: t.number, Key: key, Packets: count, Sent: now}, bytes)
	}
	t.number++
}

// startFrame reports whether the layer's next frame is a keyframe.
func (l *sendLayer) startFrame() bool {
	wanted := l.keyframe.Swap(false)
	key := wanted || l.sinceKey == 0 || l.sinceKey >= l.framing.gop
	if key {
		l.sinceKey = 0
	}
	l.sinceKey++
	return key
}

// place returns the place of the next frame among the temporal layers.
func (l *sendLayer) place() (p temporal) {
	if !l.layered {
		return p
	}
	p = temporalAt(l.sinceKey - 1)
	if p.layer == 0 {
		l.tl0++
	}
	p.tl0 = l.tl0
	return p
}

func (t *sendTrack) write(l *sendLayer, h rtp.Header, payload []byte, now time.Time) {
	h.SequenceNumber = l.seq
	l.seq++
	for _, e := range t.extensions {
		if v := t.extension(e.URI, l, now); v != nil {
			_ = h.SetExtension(uint8(e.ID), v) // too long for its form: then it is left out
		}
	}
	// The connection may be closing: then nobody waits for the packet.
	_ = l.local.WriteRTP(&rtp.Packet{Header: h, Payload: payload})
}

// extension returns what a packet says under uri; nil for nothing.
func (t *sendTrack) extension(uri string, l *sendLayer, now time.Time) []byte {
	switch uri {
	case midURI:
		return []byte(t.mid())
	case ridURI:
		if l.RID == "" {
			return nil
		}
		return []byte(l.RID)
	case repairedRIDURI:
		return nil
	case audioLevelURI:
		return []byte{0x80 | 20} // voice at -20 dBov
	case absCaptureTimeURI:
		return binary.BigEndian.AppendUint64(nil, ntp.Stamp(now))
	case absSendTimeURI:
		v := ntp.Stamp(now) >> 14
		return []byte{byte(v >> 16), byte(v >> 8), byte(v)}
	}
	return binary.BigEndian.AppendUint16(nil, uint16(t.number))
}

// report sends sender reports if they are due. Frame n has just been sent.
func (t *sendTrack) report(pc *webrtc.PeerConnection, n int, now time.Time, every time.Duration) {
	if now.Before(t.nextReport) {
		return
	}
	t.nextReport = now.Add(every)
	for _, l := range t.layers {
		sent := l.report()
		// As for media: the connection may be closing.
		_ = pc.WriteRTCP([]rtcp.Packet{
			&rtcp.SenderReport{
				SSRC: l.ssrc, NTPTime: ntp.Stamp(now), RTPTime: t.timestamp(n),
				PacketCount: uint32(sent.Packets), OctetCount: uint32(sent.Bytes),
			},
			&rtcp.SourceDescription{Chunks: []rtcp.SourceDescriptionChunk{{
				Source: l.ssrc, Items: []rtcp.SourceDescriptionItem{{Type: rtcp.SDESCNAME, Text: "cdntest"}},
			}}},
		})
	}
}

// readFeedback counts and heeds what the server asks of the layer, until the
// connection is closed.
func (l *sendLayer) readFeedback(s *webrtc.RTPSender) {
	for {
		var packets []rtcp.Packet
		var err error
		if l.RID != "" {
			packets, _, err = s.ReadSimulcastRTCP(l.RID)
		} else {
			packets, _, err = s.ReadRTCP()
		}
		if err != nil {
			return
		}
		for _, p := range packets {
			l.handleFeedback(p)
		}
	}
}

func (l *sendLayer) handleFeedback(p rtcp.Packet) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch p := p.(type) {
	case *rtcp.PictureLossIndication:
		if p.MediaSSRC == l.ssrc {
			l.sent.PLIs++
			l.keyframe.Store(!l.deaf)
		}
	case *rtcp.FullIntraRequest:
		for _, e := range p.FIR {
			if e.SSRC == l.ssrc {
				l.sent.FIRs++
				l.keyframe.Store(!l.deaf)
			}
		}
	case *rtcp.TransportLayerNack:
		if p.MediaSSRC == l.ssrc {
			for _, pair := range p.Nacks {
				l.sent.NACKs += len(pair.PacketList())
			}
		}
	}
}

func (l *sendLayer) count(f SentFrame, bytes int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent.Frames++
	l.sent.Packets += f.Packets
	l.sent.Bytes += bytes
	if f.Key {
		l.sent.Keyframes++
	}
	l.sent.Log = append(l.sent.Log, f)
}

// report returns a copy of what the layer did.
func (l *sendLayer) report() SentLayer {
	l.mu.Lock()
	defer l.mu.Unlock()
	sent := l.sent
	// Entries are never changed, so the copy may share them.
	sent.Log = sent.Log[:len(sent.Log):len(sent.Log)]
	return sent
}
