package main

import (
	"crypto/rand"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"
)

// pion is the fan-out of every tutorial: a PeerConnection for each client with
// the default codecs and interceptors, and a TrackLocalStaticRTP for each track.
type pion struct {
	api *webrtc.API

	mu       sync.Mutex
	tracks   []*webrtc.TrackLocalStaticRTP
	request  func() // a keyframe
	sessions map[string]*webrtc.PeerConnection
}

func newPion() http.Handler {
	var settings webrtc.SettingEngine
	settings.SetIncludeLoopbackCandidate(true) // the benchmark's network
	p := &pion{api: webrtc.NewAPI(webrtc.WithSettingEngine(settings)), request: func() {}, sessions: make(map[string]*webrtc.PeerConnection)}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /whip/{name}", p.publish)
	mux.HandleFunc("POST /whep/{name}", p.play)
	mux.HandleFunc("DELETE /session/{id}", p.end)
	return mux
}

func (p *pion) publish(w http.ResponseWriter, r *http.Request) {
	pc, err := p.api.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	pc.OnTrack(func(remote *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		local, err := webrtc.NewTrackLocalStaticRTP(remote.Codec().RTPCodecCapability, remote.ID(), "pion")
		if err != nil {
			return
		}
		p.mu.Lock()
		p.tracks = append(p.tracks, local)
		if remote.Kind() == webrtc.RTPCodecTypeVideo {
			p.request = func() {
				_ = pc.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: uint32(remote.SSRC())}})
			}
		}
		p.mu.Unlock()
		for {
			packet, _, err := remote.ReadRTP()
			if err != nil || local.WriteRTP(packet) != nil {
				return
			}
		}
	})
	p.answer(w, r, pc)
}

func (p *pion) play(w http.ResponseWriter, r *http.Request) {
	pc, err := p.api.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	p.mu.Lock()
	tracks, request := p.tracks, p.request
	p.mu.Unlock()
	for _, t := range tracks {
		sender, err := pc.AddTrack(t)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		go p.readRTCP(sender, request)
	}
	pc.OnConnectionStateChange(func(state webrtc.PeerConnectionState) {
		switch state {
		case webrtc.PeerConnectionStateConnected:
			request()
		case webrtc.PeerConnectionStateFailed:
			_ = pc.Close()
		default:
		}
	})
	p.answer(w, r, pc)
}

// readRTCP has the interceptors see the feedback, and passes on keyframe
// requests, at most two a second of each viewer.
func (p *pion) readRTCP(sender *webrtc.RTPSender, request func()) {
	var last time.Time
	for {
		packets, _, err := sender.ReadRTCP()
		if err != nil {
			return
		}
		for _, packet := range packets {
			if _, ok := packet.(*rtcp.PictureLossIndication); ok && time.Since(last) > 500*time.Millisecond {
				last = time.Now()
				request()
			}
		}
	}
}

// end closes a session.
func (p *pion) end(_ http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	p.mu.Lock()
	pc := p.sessions[id]
	delete(p.sessions, id)
	p.mu.Unlock()
	if pc != nil {
		_ = pc.Close()
	}
}

func (p *pion) answer(w http.ResponseWriter, r *http.Request, pc *webrtc.PeerConnection) {
	fail := func(err error) {
		_ = pc.Close()
		http.Error(w, err.Error(), http.StatusBadRequest)
	}
	offer, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		fail(err)
		return
	}
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: string(offer)}); err != nil {
		fail(err)
		return
	}
	desc, err := pc.CreateAnswer(nil)
	if err != nil {
		fail(err)
		return
	}
	gathered := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(desc); err != nil {
		fail(err)
		return
	}
	<-gathered
	w.Header().Set("Content-Type", "application/sdp")
	id := rand.Text()
	p.mu.Lock()
	p.sessions[id] = pc
	p.mu.Unlock()
	w.Header().Set("Location", "/session/"+id)
	w.WriteHeader(http.StatusCreated)
	_, _ = io.WriteString(w, pc.LocalDescription().SDP)
}
