package cdntest

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"sync"

	"github.com/pion/interceptor"
	"github.com/pion/interceptor/pkg/nack"
	"github.com/pion/logging"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/internal/pc/setting"
	"github.com/deltacdn/delta/signal"
)

// A fakeSFU forwards one publisher's packets as they are: the least that
// publishers and viewers can be tested with. It is a Handler and, in process,
// its own Dialer: the URL is "publish" or "view".
type fakeSFU struct {
	host    *Host
	mangle  func(layer string, p *rtp.Packet) bool // may change p; false drops it
	refuse  error
	invited int
	arrived chan string // the key of each track that came; nobody need read it

	mu      sync.Mutex
	pcs     map[*webrtc.PeerConnection]bool
	tracks  map[string]*webrtc.TrackLocalStaticRTP // by kind and RID
	up      *webrtc.PeerConnection
	ssrcs   []uint32 // of the publisher's video
	deletes int
}

func newFakeSFU(h *Host) *fakeSFU {
	return &fakeSFU{
		host: h, arrived: make(chan string, 10), pcs: map[*webrtc.PeerConnection]bool{}, tracks: map[string]*webrtc.TrackLocalStaticRTP{},
	}
}

func (s *fakeSFU) Close() {
	s.mu.Lock()
	pcs := maps.Clone(s.pcs)
	s.mu.Unlock()
	for pc := range pcs {
		_ = pc.GracefulClose()
	}
}

func (s *fakeSFU) newPC() (*webrtc.PeerConnection, error) {
	settings := webrtc.SettingEngine{
		LoggerFactory: &logging.DefaultLoggerFactory{DefaultLogLevel: logging.LogLevelDisabled},
	}
	setting.WithoutMulticastDNS(&settings)
	settings.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	if s.host != nil {
		s.host.Use(&settings)
	} else {
		settings.SetIncludeLoopbackCandidate(true)
	}
	var media webrtc.MediaEngine
	set := codecSet{
		video: videoCodecs(), audio: []cdn.Codec{opusCodec()}, nack: true, rtx: true,
		extensions: map[cdn.Kind][]string{
			cdn.Video: {midURI, ridURI, repairedRIDURI, absCaptureTimeURI},
			cdn.Audio: {midURI, audioLevelURI},
		},
	}
	if err := set.register(&media); err != nil {
		return nil, err
	}
	var registry interceptor.Registry
	responder, err := nack.NewResponderInterceptor()
	if err != nil {
		return nil, err
	}
	registry.Add(responder)
	api := webrtc.NewAPI(webrtc.WithSettingEngine(settings), webrtc.WithMediaEngine(&media),
		webrtc.WithInterceptorRegistry(&registry))
	pc, err := api.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pcs[pc] = true
	return pc, nil
}

// Dial answers publishers' and viewers' offers, or invites viewers.
func (s *fakeSFU) Dial(ctx context.Context, url string, o signal.Offer) (signal.RemoteSession, error) {
	if s.refuse != nil {
		return nil, s.refuse
	}
	pc, err := s.newPC()
	if err != nil {
		return nil, err
	}
	session := &fakeSession{sfu: s, pc: pc}
	if url == "publish" {
		s.up = pc
		pc.OnTrack(s.forward)
	} else if err := s.addTracks(pc, o.Layer); err != nil {
		return nil, err
	}
	if o.SDP == "" {
		offer, err := pc.CreateOffer(nil)
		if err != nil {
			return nil, err
		}
		s.invited++
		return session, session.setLocal(offer)
	}
	err = pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: o.SDP})
	if err != nil {
		return nil, err
	}
	answer, err := pc.CreateAnswer(nil)
	if err != nil {
		return nil, err
	}
	return session, session.setLocal(answer)
}

func (s *fakeSFU) addTracks(pc *webrtc.PeerConnection, layer string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, track := range s.tracks {
		if strings.HasPrefix(key, "video") && key != "video"+layer {
			continue
		}
		sender, err := pc.AddTrack(track)
		if err != nil {
			return err
		}
		go s.relayRequests(sender)
	}
	return nil
}

// relayRequests passes keyframe requests on to the publisher.
func (s *fakeSFU) relayRequests(sender *webrtc.RTPSender) {
	for {
		packets, _, err := sender.ReadRTCP()
		if err != nil {
			return
		}
		for _, p := range packets {
			s.mu.Lock()
			ssrcs := s.ssrcs
			s.mu.Unlock()
			for _, ssrc := range ssrcs {
				switch p.(type) {
				case *rtcp.PictureLossIndication:
					_ = s.up.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: ssrc}})
				case *rtcp.FullIntraRequest:
					_ = s.up.WriteRTCP([]rtcp.Packet{&rtcp.FullIntraRequest{
						MediaSSRC: ssrc, FIR: []rtcp.FIREntry{{SSRC: ssrc}},
					}})
				}
			}
		}
	}
}

// forward passes a publisher's layer on to all viewers.
func (s *fakeSFU) forward(remote *webrtc.TrackRemote, receiver *webrtc.RTPReceiver) {
	key := remote.Kind().String() + remote.RID()
	s.mu.Lock()
	local := s.tracks[key]
	if local == nil {
		local, _ = webrtc.NewTrackLocalStaticRTP(remote.Codec().RTPCodecCapability, remote.Kind().String(), "sfu")
		s.tracks[key] = local
	}
	if remote.Kind() == webrtc.RTPCodecTypeVideo {
		s.ssrcs = append(s.ssrcs, uint32(remote.SSRC()))
	}
	s.mu.Unlock()
	go func() {
		for {
			packets, _, err := receiver.ReadSimulcastRTCP(remote.RID())
			if err != nil {
				return
			}
			s.forwardReports(packets, uint32(remote.SSRC()), local)
		}
	}()
	s.arrived <- key
	for {
		p, _, err := remote.ReadRTP()
		if err != nil {
			return
		}
		if s.mangle == nil || s.mangle(remote.RID(), p) {
			p.Extensions, p.Extension = nil, false
			_ = local.WriteRTP(p)
		}
	}
}

func (s *fakeSFU) forwardReports(packets []rtcp.Packet, ssrc uint32, local *webrtc.TrackLocalStaticRTP) {
	for _, p := range packets {
		if sr, ok := p.(*rtcp.SenderReport); ok && sr.SSRC == ssrc {
			s.toViewers(local, func(ssrc uint32) rtcp.Packet {
				report := *sr
				report.SSRC = ssrc
				return &report
			})
		}
	}
}

// toViewers sends a packet about local to all who get it.
func (s *fakeSFU) toViewers(local *webrtc.TrackLocalStaticRTP, packet func(ssrc uint32) rtcp.Packet) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for pc := range s.pcs {
		for _, sender := range pc.GetSenders() {
			if sender.Track() == webrtc.TrackLocal(local) {
				_ = pc.WriteRTCP([]rtcp.Packet{packet(uint32(sender.GetParameters().Encodings[0].SSRC))})
			}
		}
	}
}

// bye tells all viewers that all has ended.
func (s *fakeSFU) bye(reason string) {
	s.mu.Lock()
	tracks := maps.Clone(s.tracks)
	s.mu.Unlock()
	for _, local := range tracks {
		s.toViewers(local, func(ssrc uint32) rtcp.Packet {
			return &rtcp.Goodbye{Sources: []uint32{ssrc}, Reason: reason}
		})
	}
}

type fakeSession struct {
	sfu *fakeSFU
	pc  *webrtc.PeerConnection
	sdp string
}

func (f *fakeSession) setLocal(d webrtc.SessionDescription) error {
	gathered := webrtc.GatheringCompletePromise(f.pc)
	if err := f.pc.SetLocalDescription(d); err != nil {
		return err
	}
	<-gathered
	f.sdp = f.pc.LocalDescription().SDP
	return nil
}

func (f *fakeSession) SDP() string { return f.sdp }

func (f *fakeSession) Accept(_ context.Context, answer string) error {
	return f.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer})
}

func (f *fakeSession) Patch(context.Context, string) (string, error) {
	return "", fmt.Errorf("patch: %w", cdn.ErrUnsupported)
}

func (f *fakeSession) Close(context.Context) error {
	f.sfu.mu.Lock()
	f.sfu.deletes++
	delete(f.sfu.pcs, f.pc)
	f.sfu.mu.Unlock()
	return f.pc.GracefulClose()
}
