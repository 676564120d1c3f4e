package demo

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/webrtc/v4"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/pc/setting"
)

// A peer is the PeerConnection of one session.
type peer struct {
	pc        *webrtc.PeerConnection
	video     *webrtc.TrackLocalStaticRTP
	audio     *webrtc.TrackLocalStaticRTP
	ctx       context.Context // ends with the connection, whose fate is its cause
	cancel    context.CancelCauseFunc
	connected chan struct{}
	readers   sync.WaitGroup
}

func (p *publisher) newPeer(ctx context.Context) (*peer, error) {
	api, err := p.newAPI()
	if err != nil {
		return nil, err
	}
	pc, err := api.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return nil, err
	}
	pe := &peer{pc: pc, connected: make(chan struct{})}
	pe.ctx, pe.cancel = context.WithCancelCause(ctx)
	pc.OnConnectionStateChange(pe.watch())
	pe.video, err = pe.addTrack(vp8(), "video")
	if err == nil {
		pe.audio, err = pe.addTrack(opus(), "audio")
	}
	if err != nil {
		pe.close()
		return nil, err
	}
	return pe, nil
}

// watch returns the handler that turns connection states into connected and ctx.
func (pe *peer) watch() func(webrtc.PeerConnectionState) {
	var once sync.Once
	return func(state webrtc.PeerConnectionState) {
		switch state {
		case webrtc.PeerConnectionStateConnected:
			once.Do(func() { close(pe.connected) })
		case webrtc.PeerConnectionStateFailed, webrtc.PeerConnectionStateClosed:
			pe.cancel(fmt.Errorf("%w: connection %s", cdn.ErrPeerLost, state))
		default: // on the way to one of these
		}
	}
}

// addTrack adds a track and reads its RTCP: the interceptors see nothing, and
// so answer no NACK, unless somebody reads.
func (pe *peer) addTrack(codec webrtc.RTPCodecParameters, id string) (*webrtc.TrackLocalStaticRTP, error) {
	track, err := webrtc.NewTrackLocalStaticRTP(codec.RTPCodecCapability, id, "demo")
	if err != nil {
		return nil, err
	}
	transceiver, err := pe.pc.AddTransceiverFromTrack(track,
		webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
	if err != nil {
		return nil, err
	}
	sender := transceiver.Sender()
	pe.readers.Go(func() {
		buf := make([]byte, 1500)
		for {
			if _, _, err := sender.Read(buf); err != nil {
				return
			}
		}
	})
	return track, nil
}

// close ends the connection and waits for its goroutines.
func (pe *peer) close() {
	pe.cancel(cdn.ErrClosed)
	_ = pe.pc.GracefulClose()
	pe.readers.Wait()
}

// vp8 and opus are the codecs of the clip, and all that is offered.
func vp8() webrtc.RTPCodecParameters {
	return webrtc.RTPCodecParameters{PayloadType: 96, RTPCodecCapability: webrtc.RTPCodecCapability{
		MimeType: webrtc.MimeTypeVP8, ClockRate: videoClock,
		RTCPFeedback: []webrtc.RTCPFeedback{
			{Type: "nack"}, {Type: "nack", Parameter: "pli"}, {Type: "ccm", Parameter: "fir"},
		},
	}}
}

func opus() webrtc.RTPCodecParameters {
	return webrtc.RTPCodecParameters{PayloadType: 111, RTPCodecCapability: webrtc.RTPCodecCapability{
		MimeType: webrtc.MimeTypeOpus, ClockRate: audioClock, Channels: 2,
		SDPFmtpLine: "minptime=10;useinbandfec=1;stereo=1;sprop-stereo=1",
	}}
}

// newAPI returns an API with sockets of its own, loopback among them.
func (p *publisher) newAPI() (*webrtc.API, error) {
	media := &webrtc.MediaEngine{}
	registry := &interceptor.Registry{}
	rtx := webrtc.RTPCodecParameters{PayloadType: 97, RTPCodecCapability: webrtc.RTPCodecCapability{
		MimeType: webrtc.MimeTypeRTX, ClockRate: videoClock, SDPFmtpLine: "apt=96",
	}}
	err := errors.Join(
		media.RegisterCodec(vp8(), webrtc.RTPCodecTypeVideo),
		media.RegisterCodec(rtx, webrtc.RTPCodecTypeVideo),
		media.RegisterCodec(opus(), webrtc.RTPCodecTypeAudio),
		webrtc.RegisterDefaultInterceptors(media, registry),
	)
	if err != nil {
		return nil, err
	}
	settings := webrtc.SettingEngine{}
	settings.SetIncludeLoopbackCandidate(true)
	setting.WithoutMulticastDNS(&settings)
	settings.SetICETimeouts(3*time.Second, 6*time.Second, time.Second)
	settings.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4, webrtc.NetworkTypeUDP6})
	if p.cfg.Tune != nil {
		p.cfg.Tune(&settings)
	}
	return webrtc.NewAPI(webrtc.WithMediaEngine(media), webrtc.WithInterceptorRegistry(registry),
		webrtc.WithSettingEngine(settings)), nil
}
