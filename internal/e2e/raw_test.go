package delta_test

// Raw publishers and viewers for inputs that cdntest does not make: every RTP
// header, every sender report and every line of SDP is the test's own.

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/logging"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/signal"
)

type rawTrack struct {
	kind  webrtc.RTPCodecType
	id    string
	codec webrtc.RTPCodecCapability

	mu       sync.Mutex
	w        webrtc.TrackLocalWriter
	ssrc     uint32
	pt       uint8
	mid      uint8 // id of the mid extension, 0: none
	midOf    string
	sender   *webrtc.RTPSender
	requests int       // keyframe requests that came
	remb     []float32 // estimates that came
	onNack   func(seq uint16)
}

func (t *rawTrack) Bind(c webrtc.TrackLocalContext) (webrtc.RTPCodecParameters, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range c.CodecParameters() {
		if strings.EqualFold(p.MimeType, t.codec.MimeType) {
			t.w, t.ssrc, t.pt = c.WriteStream(), uint32(c.SSRC()), uint8(p.PayloadType)
			for _, h := range c.HeaderExtensions() {
				if h.URI == "urn:ietf:params:rtp-hdrext:sdes:mid" {
					t.mid = uint8(h.ID)
				}
			}
			return p, nil
		}
	}
	return webrtc.RTPCodecParameters{}, webrtc.ErrUnsupportedCodec
}
func (t *rawTrack) Unbind(webrtc.TrackLocalContext) error { return nil }
func (t *rawTrack) ID() string                            { return t.id }
func (t *rawTrack) RID() string                           { return "" }
func (t *rawTrack) StreamID() string                      { return "raw" }
func (t *rawTrack) Kind() webrtc.RTPCodecType             { return t.kind }

// send writes a packet; a zero SSRC is the track's own.
func (t *rawTrack) send(h rtp.Header, payload []byte) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.w == nil {
		return errors.New("not bound")
	}
	h.Version = 2
	if h.SSRC == 0 {
		h.SSRC = t.ssrc
	}
	if h.PayloadType == 0 {
		h.PayloadType = t.pt
	}
	if t.mid != 0 && t.midOf != "" {
		_ = h.SetExtension(t.mid, []byte(t.midOf))
	}
	_, err := t.w.WriteRTP(&h, payload)
	return err
}

type rawPublisher struct {
	pc        *webrtc.PeerConnection
	tracks    []*rawTrack
	answer    string
	remote    signal.RemoteSession
	connected chan struct{}
}

func rawAPI(t testing.TB, host *cdntest.Host, tune func(*webrtc.MediaEngine)) *webrtc.API {
	s := webrtc.SettingEngine{LoggerFactory: &logging.DefaultLoggerFactory{DefaultLogLevel: logging.LogLevelDisabled}}
	s.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	s.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	host.Use(&s)
	var m webrtc.MediaEngine
	if tune != nil {
		tune(&m)
	} else {
		require.NoError(t, m.RegisterDefaultCodecs())
	}
	return webrtc.NewAPI(webrtc.WithSettingEngine(s), webrtc.WithMediaEngine(&m), webrtc.WithInterceptorRegistry(&interceptor.Registry{}))
}

// rawPublish publishes tracks with an offer that edit may change on its way.
func rawPublish(t testing.TB, w *world, n *node, stream string, host *cdntest.Host, tune func(*webrtc.MediaEngine), edit func(string) string, tracks ...*rawTrack) (*rawPublisher, error) {
	return rawPublishAnswered(t, w, n, stream, host, tune, edit, nil, tracks...)
}

// rawPublishAnswered is rawPublish with an answer that may be changed on its way, too.
func rawPublishAnswered(t testing.TB, w *world, n *node, stream string, host *cdntest.Host, tune func(*webrtc.MediaEngine), edit, seen func(string) string, tracks ...*rawTrack) (*rawPublisher, error) {
	pc, err := rawAPI(t, host, tune).NewPeerConnection(webrtc.Configuration{BundlePolicy: webrtc.BundlePolicyMaxBundle})
	require.NoError(t, err)
	t.Cleanup(func() { _ = pc.Close() })
	p := &rawPublisher{pc: pc, tracks: tracks, connected: make(chan struct{})}
	var once sync.Once
	pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		if s == webrtc.PeerConnectionStateConnected {
			once.Do(func() { close(p.connected) })
		}
	})
	for _, tr := range tracks {
		sender, err := pc.AddTrack(tr)
		require.NoError(t, err)
		tr.sender = sender
	}
	offer, err := pc.CreateOffer(nil)
	require.NoError(t, err)
	gathered := webrtc.GatheringCompletePromise(pc)
	require.NoError(t, pc.SetLocalDescription(offer))
	<-gathered
	sdp := pc.LocalDescription().SDP
	if edit != nil {
		sdp = edit(sdp)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	p.remote, err = w.dialer.Dial(ctx, n.url()+"/whip/"+stream, signal.Offer{Stream: cdn.StreamID(stream), SDP: sdp})
	if err != nil {
		return nil, err
	}
	p.answer = p.remote.SDP()
	answer := p.answer
	if seen != nil {
		answer = seen(answer)
	}
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer}); err != nil {
		return nil, err
	}
	for _, tr := range tracks {
		go func() {
			for {
				ps, _, err := tr.sender.ReadRTCP()
				if err != nil {
					return
				}
				for _, x := range ps {
					if n, ok := x.(*rtcp.TransportLayerNack); ok && tr.onNack != nil {
						for _, pair := range n.Nacks {
							for _, seq := range pair.PacketList() {
								tr.onNack(seq)
							}
						}
					}
					tr.mu.Lock()
					switch x := x.(type) {
					case *rtcp.PictureLossIndication, *rtcp.FullIntraRequest:
						tr.requests++
					case *rtcp.ReceiverEstimatedMaximumBitrate:
						tr.remb = append(tr.remb, x.Bitrate)
					}
					tr.mu.Unlock()
				}
			}
		}()
	}
	select {
	case <-p.connected:
	case <-time.After(15 * time.Second):
		return p, errors.New("not connected")
	}
	return p, nil
}

func (p *rawPublisher) report(tr *rawTrack, ntp uint64, rtpTime uint32) {
	_ = p.pc.WriteRTCP([]rtcp.Packet{&rtcp.SenderReport{SSRC: tr.ssrc, NTPTime: ntp, RTPTime: rtpTime}})
}

type got struct {
	at   time.Time
	h    rtp.Header
	data []byte
}
type gotSR struct {
	at   time.Time
	ssrc uint32
	ntp  uint64
	rtp  uint32
}

type rawViewer struct {
	pc        *webrtc.PeerConnection
	remote    signal.RemoteSession
	answer    string
	connected chan struct{}
	ended     chan struct{}
	mu        sync.Mutex
	rtp       map[string][]got // by kind ("video", "audio", "video2" …)
	srs       map[string][]gotSR
	byes      []string
	tracks    map[string]*webrtc.TrackRemote
}

func rawView(t testing.TB, w *world, n *node, stream string, host *cdntest.Host, tune func(*webrtc.MediaEngine), edit func(string) string, kinds ...webrtc.RTPCodecType) (*rawViewer, error) {
	pc, err := rawAPI(t, host, tune).NewPeerConnection(webrtc.Configuration{BundlePolicy: webrtc.BundlePolicyMaxBundle})
	require.NoError(t, err)
	t.Cleanup(func() { _ = pc.Close() })
	v := &rawViewer{pc: pc, connected: make(chan struct{}), ended: make(chan struct{}), rtp: map[string][]got{}, srs: map[string][]gotSR{}, tracks: map[string]*webrtc.TrackRemote{}}
	var once, end sync.Once
	pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		switch s {
		case webrtc.PeerConnectionStateConnected:
			once.Do(func() { close(v.connected) })
		case webrtc.PeerConnectionStateFailed, webrtc.PeerConnectionStateClosed:
			end.Do(func() { close(v.ended) })
		}
	})
	pc.OnTrack(func(tr *webrtc.TrackRemote, r *webrtc.RTPReceiver) {
		name := tr.Kind().String()
		v.mu.Lock()
		for v.tracks[name] != nil {
			name += "+"
		}
		v.tracks[name] = tr
		v.mu.Unlock()
		go func() {
			for {
				ps, _, err := r.ReadRTCP()
				if err != nil {
					return
				}
				for _, p := range ps {
					if b, ok := p.(*rtcp.Goodbye); ok {
						v.mu.Lock()
						v.byes = append(v.byes, b.Reason)
						v.mu.Unlock()
					}
					if sr, ok := p.(*rtcp.SenderReport); ok {
						v.mu.Lock()
						v.srs[name] = append(v.srs[name], gotSR{time.Now(), sr.SSRC, sr.NTPTime, sr.RTPTime})
						v.mu.Unlock()
					}
				}
			}
		}()
		for {
			p, _, err := tr.ReadRTP()
			if err != nil {
				return
			}
			v.mu.Lock()
			v.rtp[name] = append(v.rtp[name], got{time.Now(), p.Header, append([]byte(nil), p.Payload...)})
			v.mu.Unlock()
		}
	})
	for _, k := range kinds {
		_, err := pc.AddTransceiverFromKind(k, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly})
		require.NoError(t, err)
	}
	offer, err := pc.CreateOffer(nil)
	require.NoError(t, err)
	gathered := webrtc.GatheringCompletePromise(pc)
	require.NoError(t, pc.SetLocalDescription(offer))
	<-gathered
	sdp := pc.LocalDescription().SDP
	if edit != nil {
		sdp = edit(sdp)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	v.remote, err = w.dialer.Dial(ctx, n.url()+"/whep/"+stream, signal.Offer{Stream: cdn.StreamID(stream), SDP: sdp})
	if err != nil {
		return nil, err
	}
	v.answer = v.remote.SDP()
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: v.answer}); err != nil {
		return v, err
	}
	return v, nil
}

// pli asks for a keyframe of what is received as name.
func (v *rawViewer) pli(name string) {
	v.mu.Lock()
	tr := v.tracks[name]
	v.mu.Unlock()
	if tr != nil {
		_ = v.pc.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: uint32(tr.SSRC())}})
	}
}

func (v *rawViewer) packets(name string) []got {
	v.mu.Lock()
	defer v.mu.Unlock()
	return append([]got(nil), v.rtp[name]...)
}

func (v *rawViewer) reports(name string) []gotSR {
	v.mu.Lock()
	defer v.mu.Unlock()
	return append([]gotSR(nil), v.srs[name]...)
}

// ntpOf is a time as NTP (RFC 5905), 32 bits each of seconds and fraction.
func ntpOf(t time.Time) uint64 {
	const epoch = 2208988800
	return uint64(t.Unix()+epoch)<<32 | uint64(float64(t.Nanosecond())*(1<<32)/1e9)
}

func ofNTP(n uint64) time.Time {
	const epoch = 2208988800
	return time.Unix(int64(n>>32)-epoch, int64(float64(n&0xffffffff)*1e9/(1<<32)))
}

// captured is when a receiver takes timestamp ts for captured, by the newest report.
func captured(srs []gotSR, ts uint32, rate float64) time.Time {
	sr := srs[len(srs)-1]
	return ofNTP(sr.ntp).Add(time.Duration(float64(int32(ts-sr.rtp)) / rate * 1e9))
}

func opusTrack() *rawTrack {
	return &rawTrack{kind: webrtc.RTPCodecTypeAudio, id: "a", codec: webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2}}
}

func videoTrack(mime string) *rawTrack {
	return &rawTrack{kind: webrtc.RTPCodecTypeVideo, id: "v", codec: webrtc.RTPCodecCapability{MimeType: mime, ClockRate: 90000}}
}

// vp8 payloads: a keyframe or another picture, of one packet.
func vp8Picture(key bool, n int) []byte {
	b := []byte{0x10, 0x01, 0, 0, byte(n >> 8), byte(n)}
	if key {
		b[1] = 0
	}
	return append(b, make([]byte, 200)...)
}

// dropLines removes lines with one of the prefixes from an SDP.
func dropLines(sdp string, prefixes ...string) string {
	var out []string
next:
	for _, l := range strings.Split(sdp, "\r\n") {
		for _, p := range prefixes {
			if strings.HasPrefix(l, p) {
				continue next
			}
		}
		out = append(out, l)
	}
	return strings.Join(out, "\r\n")
}

// only has a media engine know Opus and one video codec.
func only(mime, fmtp string) func(*webrtc.MediaEngine) {
	return func(m *webrtc.MediaEngine) {
		_ = m.RegisterCodec(webrtc.RTPCodecParameters{RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2, SDPFmtpLine: "minptime=10;useinbandfec=1"}, PayloadType: 111}, webrtc.RTPCodecTypeAudio)
		_ = m.RegisterCodec(webrtc.RTPCodecParameters{RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: mime, ClockRate: 90000, SDPFmtpLine: fmtp, RTCPFeedback: []webrtc.RTCPFeedback{{Type: "nack"}, {Type: "nack", Parameter: "pli"}, {Type: "ccm", Parameter: "fir"}}}, PayloadType: 102}, webrtc.RTPCodecTypeVideo)
	}
}

const h264Fmtp = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"

// codecOf is what was negotiated for the track.
func (t *rawTrack) codecOf() string {
	for _, c := range t.sender.GetParameters().Codecs {
		return c.MimeType + " " + c.SDPFmtpLine
	}
	return "none"
}

// withMid is a media engine's setup that sends the mid extension (RFC 9143) in
// each packet.
func withMid(m *webrtc.MediaEngine) {
	_ = m.RegisterDefaultCodecs()
	for _, k := range []webrtc.RTPCodecType{webrtc.RTPCodecTypeAudio, webrtc.RTPCodecTypeVideo} {
		_ = m.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: "urn:ietf:params:rtp-hdrext:sdes:mid"}, k)
	}
}

// goodbyes returns the reasons of the RTCP BYEs that came.
func (v *rawViewer) goodbyes() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return append([]string(nil), v.byes...)
}
