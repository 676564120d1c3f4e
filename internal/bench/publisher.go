package main

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
)

// The stream: 2.5 Mbit/s of video at 30 frames a second, nine packets a frame,
// and 50 packets of sound a second.
const (
	fps         = 30
	perFrame    = 9
	videoBytes  = 1150
	soundEvery  = 20 * time.Millisecond
	soundBytes  = 120
	keyEvery    = 2 * fps
	stampOffset = 16 // of a packet's time in its payload
)

type publisher struct {
	pc     *webrtc.PeerConnection
	video  track
	sound  track
	spread time.Duration
	key    int         // packets of a keyframe; 0: as many as other frames have
	ending atomic.Bool // it pauses after the next keyframe
	paused atomic.Bool
	sounds departed
	quit   chan struct{}
	wg     sync.WaitGroup
}

type track struct {
	*webrtc.TrackLocalStaticRTP
	sent atomic.Uint64 // packets, numbered without a gap
}

type publishers []*publisher

func publishAll(ctx context.Context, url string, l load) (all publishers, err error) {
	for i := range l.streams {
		p, err := publish(ctx, url+"/whip/"+stream(i), l)
		if err != nil {
			return all, err
		}
		all = append(all, p)
	}
	return all, nil
}

// pause has each of them pause right after a keyframe, and waits until all have.
func (all publishers) pause(ctx context.Context) error {
	for _, p := range all {
		p.ending.Store(true)
	}
	for _, p := range all {
		for !p.paused.Load() {
			if err := wait(ctx, time.Second/fps); err != nil {
				return err
			}
		}
	}
	return nil
}

func (all publishers) resume() {
	for _, p := range all {
		p.ending.Store(false)
		p.paused.Store(false)
	}
}

// sent returns how many packets viewer i should have by now.
func (all publishers) sent(i int, sound bool) uint64 {
	p := all[i%len(all)]
	if sound {
		return p.sound.sent.Load()
	}
	return p.sound.sent.Load() + p.video.sent.Load()
}

func (all publishers) close() {
	for _, p := range all {
		p.close()
	}
}

func publish(ctx context.Context, url string, l load) (*publisher, error) {
	pc, err := newPeer(webrtc.SettingEngine{}, signals{})
	if err != nil {
		return nil, err
	}
	p := &publisher{pc: pc, spread: l.spread, key: l.key, quit: make(chan struct{})}
	if err := p.start(ctx, url); err != nil {
		_ = pc.Close()
		return nil, err
	}
	p.wg.Go(func() { p.run(time.Second/fps, p.sendFrame) })
	p.wg.Go(func() { p.run(soundEvery, p.sendSound) })
	return p, nil
}

func (p *publisher) start(ctx context.Context, url string) (err error) {
	for _, t := range []struct {
		to   *track
		mime string
		rate uint32
		ch   uint16
	}{{&p.video, webrtc.MimeTypeVP8, 90000, 0}, {&p.sound, webrtc.MimeTypeOpus, 48000, 2}} {
		t.to.TrackLocalStaticRTP, err = webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: t.mime, ClockRate: t.rate, Channels: t.ch}, t.mime[:5], "bench")
		if err != nil {
			return err
		}
		sender, err := p.pc.AddTrack(t.to)
		if err != nil {
			return err
		}
		p.wg.Go(func() {
			for buf := make([]byte, 1500); ; {
				if _, _, err := sender.Read(buf); err != nil {
					return
				}
			}
		})
	}
	_, err = connect(ctx, p.pc, url)
	return err
}

// run calls send at every tick of the wall clock.
func (p *publisher) run(every time.Duration, send func(n int)) {
	begun := time.Now()
	for n := 0; ; n++ {
		select {
		case <-time.After(time.Until(begun.Add(time.Duration(n) * every))):
		case <-p.quit:
			return
		}
		if !p.paused.Load() {
			send(n)
		}
	}
}

func (p *publisher) sendFrame(n int) {
	packets := p.packets(n)
	for i := range packets {
		if i > 0 && p.spread > 0 {
			time.Sleep(p.spread / time.Duration(packets))
		}
		payload := make([]byte, videoBytes)
		if i == 0 {
			payload[0] = 0x10 // VP8: a frame begins
		}
		if n%keyEvery != 0 {
			payload[1] = 1 // VP8: it is no keyframe
		}
		p.video.write(uint32(n)*90000/fps, i == packets-1, payload)
	}
	if n%keyEvery == 0 && p.ending.Load() {
		p.paused.Store(true)
	}
}

// packets returns how many frame n has. Where keyframes are large, the other frames have one
// less, so that the bitrate is about the same.
func (p *publisher) packets(n int) int {
	switch {
	case p.key == 0:
		return perFrame
	case n%keyEvery == 0:
		return p.key
	}
	return perFrame - 1
}

func (p *publisher) sendSound(n int) {
	p.sounds.note(n, time.Now())
	p.sound.write(uint32(n)*soundStep, false, make([]byte, soundBytes))
}

func (t *track) write(ts uint32, marker bool, payload []byte) {
	seq := uint16(t.sent.Add(1))
	binary.BigEndian.PutUint64(payload[stampOffset:], uint64(time.Now().UnixNano()))
	// The connection may be closing: then nobody waits for the packet.
	_ = t.WriteRTP(&rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: seq, Timestamp: ts, Marker: marker}, Payload: payload})
}

func (p *publisher) close() {
	close(p.quit)
	_ = p.pc.Close()
	p.wg.Wait()
}

// newPeer returns a PeerConnection with the default codecs and no interceptors:
// they would cost the load generator what the servers are to be measured with.
func newPeer(s webrtc.SettingEngine, offers signals) (*webrtc.PeerConnection, error) {
	s.SetIncludeLoopbackCandidate(true)
	s.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	m := &webrtc.MediaEngine{}
	if err := m.RegisterDefaultCodecs(); err != nil {
		return nil, err
	}
	if err := offers.register(m); err != nil {
		return nil, err
	}
	api := webrtc.NewAPI(webrtc.WithSettingEngine(s), webrtc.WithMediaEngine(m), webrtc.WithInterceptorRegistry(&interceptor.Registry{}))
	return api.NewPeerConnection(webrtc.Configuration{})
}

// session is what a WHIP or WHEP endpoint made of an offer.
type session struct {
	url, token       string
	posted, answered time.Time
}

// connect posts the offer to a WHIP or WHEP endpoint and waits until the
// connection is made.
func connect(ctx context.Context, pc *webrtc.PeerConnection, url string) (s session, err error) {
	o, err := offerOf(pc)
	if err != nil {
		return s, err
	}
	return o.take(ctx, url, "")
}

// offered is a PeerConnection that has made its offer.
type offered struct {
	pc        *webrtc.PeerConnection
	connected chan struct{}
	gone      chan struct{} // closed when the connection is over
}

func offerOf(pc *webrtc.PeerConnection) (o offered, err error) {
	o = offered{pc: pc, connected: make(chan struct{}), gone: make(chan struct{})}
	connected := sync.OnceFunc(func() { close(o.connected) })
	gone := sync.OnceFunc(func() { close(o.gone) })
	pc.OnConnectionStateChange(func(state webrtc.PeerConnectionState) {
		switch state {
		case webrtc.PeerConnectionStateConnected:
			connected()
		case webrtc.PeerConnectionStateFailed, webrtc.PeerConnectionStateClosed:
			gone()
		default:
		}
	})
	offer, err := pc.CreateOffer(nil)
	if err != nil {
		return o, err
	}
	gathered := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(offer); err != nil {
		return o, err
	}
	<-gathered
	return o, nil
}

// take posts the offer, with a token if it is not "", and waits until the connection is
// made. After a refusal, which is a [*refusedError], it may be called again.
func (o offered) take(ctx context.Context, url, token string) (s session, err error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	s, answer, err := post(ctx, url, token, o.pc.LocalDescription().SDP)
	if err != nil {
		return s, err
	}
	if err := o.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer}); err != nil {
		return s, err
	}
	select {
	case <-o.connected:
		return s, nil
	case <-ctx.Done():
		return s, errors.New("not connected in time")
	}
}

// refusedError is an answer other than 201.
type refusedError struct {
	status int
	retry  time.Duration // of its Retry-After; 0: it has none
	body   string
}

func (e *refusedError) Error() string { return http.StatusText(e.status) + ": " + e.body }

func post(ctx context.Context, url, token, offer string) (s session, answer string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(offer))
	if err != nil {
		return s, "", err
	}
	req.Header.Set("Content-Type", "application/sdp")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	s.token, s.posted = token, time.Now()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return s, "", err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	s.answered = time.Now()
	if err != nil {
		return s, "", err
	}
	if resp.StatusCode != http.StatusCreated {
		seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
		return s, "", &refusedError{resp.StatusCode, time.Duration(seconds) * time.Second, string(body)}
	}
	at, err := req.URL.Parse(resp.Header.Get("Location"))
	if err != nil {
		return s, "", err
	}
	s.url = at.String()
	return s, string(body), nil
}

// end tells the endpoint that the session is over.
func (s session) end(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodDelete, s.url, http.NoBody)
	if err != nil {
		return err
	}
	if s.token != "" {
		req.Header.Set("Authorization", "Bearer "+s.token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}
