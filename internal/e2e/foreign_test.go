package delta_test

// Servers of another make: WHEP and WHIP by plain pion PeerConnections, with pion's
// default codecs and interceptors.

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/logging"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/internal/rtp/payload"
	"github.com/deltacdn/delta/internal/udp/pionnet"
	"github.com/deltacdn/delta/signal"
)

// A foreign is a server of another make. It is a signal.Handler of WHEP, which plays
// frames that it makes, and of WHIP, which counts what comes.
type foreign struct {
	host  *cdntest.Host
	plays string // MIME type of the video that it plays; "": it receives

	mu       sync.Mutex
	refuse   error // nil: it takes everybody
	sessions []*foreignSession
}

func (w *world) foreign(name string, path cdntest.Path, plays string) *foreign {
	f := &foreign{host: w.network.Host(name, path), plays: plays}
	w.dialer.Handle("http://"+name+"/", f)
	w.t.Cleanup(func() {
		for _, s := range f.all() {
			_ = s.Close()
		}
	})
	return f
}

func (f *foreign) all() []*foreignSession {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.sessions
}

// newest returns the last session, nil before the first.
func (f *foreign) newest() *foreignSession {
	if all := f.all(); len(all) > 0 {
		return all[len(all)-1]
	}
	return nil
}

func (f *foreign) setRefuse(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refuse = err
}

func (f *foreign) peerConnection() (*webrtc.PeerConnection, error) {
	settings := webrtc.SettingEngine{}
	settings.SetNet(pionnet.New(f.host.Net()))
	settings.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	settings.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	settings.LoggerFactory = &logging.DefaultLoggerFactory{DefaultLogLevel: logging.LogLevelDisabled}
	media, registry := &webrtc.MediaEngine{}, &interceptor.Registry{}
	if err := media.RegisterDefaultCodecs(); err != nil {
		return nil, err
	}
	if err := webrtc.RegisterDefaultInterceptors(media, registry); err != nil {
		return nil, err
	}
	api := webrtc.NewAPI(webrtc.WithSettingEngine(settings), webrtc.WithMediaEngine(media), webrtc.WithInterceptorRegistry(registry))
	return api.NewPeerConnection(webrtc.Configuration{})
}

// Offer implements [signal.Handler].
func (f *foreign) Offer(_ context.Context, o signal.Offer) (signal.Session, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refuse != nil {
		return nil, f.refuse
	}
	pc, err := f.peerConnection()
	if err != nil {
		return nil, err
	}
	s := &foreignSession{pc: pc, done: make(chan struct{}), came: make(map[string]*foreignTrack)}
	if err := s.answer(o.SDP, f.plays); err != nil {
		_ = pc.Close()
		return nil, fmt.Errorf("%w: %w", cdn.ErrInvalid, err)
	}
	f.sessions = append(f.sessions, s)
	return s, nil
}

// A foreignSession is one PeerConnection of a foreign.
type foreignSession struct {
	pc   *webrtc.PeerConnection
	done chan struct{}
	once sync.Once
	work sync.WaitGroup

	mu    sync.Mutex
	err   error
	asked int // keyframes that it was asked for
	came  map[string]*foreignTrack
}

// A foreignTrack is what has come of a track.
type foreignTrack struct {
	remote  *webrtc.TrackRemote
	packets int
	lowest  uint16
	seen    map[uint16]bool
}

func (s *foreignSession) answer(offer, plays string) error {
	connected := make(chan struct{})
	connects := sync.OnceFunc(func() { close(connected) }) // pion may tell of it twice
	s.pc.OnConnectionStateChange(func(state webrtc.PeerConnectionState) {
		switch state {
		case webrtc.PeerConnectionStateConnected:
			connects()
		case webrtc.PeerConnectionStateFailed, webrtc.PeerConnectionStateClosed:
			go s.End(cdn.ErrPeerLost)
		default:
		}
	})
	s.pc.OnTrack(s.receive)
	if plays != "" {
		if err := s.play(plays, connected); err != nil {
			return err
		}
	}
	if err := s.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offer}); err != nil {
		return err
	}
	answer, err := s.pc.CreateAnswer(nil)
	if err != nil {
		return err
	}
	gathered := webrtc.GatheringCompletePromise(s.pc)
	if err := s.pc.SetLocalDescription(answer); err != nil {
		return err
	}
	<-gathered
	return nil
}

// play sends frames from when it is connected, and sound.
func (s *foreignSession) play(mime string, connected chan struct{}) error {
	for _, mime := range []string{mime, webrtc.MimeTypeOpus} {
		track, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: mime}, mime, "foreign")
		if err != nil {
			return err
		}
		sender, err := s.pc.AddTrack(track)
		if err != nil {
			return err
		}
		s.work.Go(func() { s.countRequests(sender) })
		s.work.Go(func() {
			select {
			case <-connected:
				s.write(track, mime)
			case <-s.done:
			}
		})
	}
	return nil
}

// countRequests counts requests for keyframes.
func (s *foreignSession) countRequests(sender *webrtc.RTPSender) {
	for {
		packets, _, err := sender.ReadRTCP()
		if err != nil {
			return
		}
		for _, p := range packets {
			if _, ok := p.(*rtcp.PictureLossIndication); ok {
				s.mu.Lock()
				s.asked++
				s.mu.Unlock()
			}
		}
	}
}

// foreignFrame is frame n of what a foreign plays.
func foreignFrame(mime string, n int, key bool) []byte {
	var head []byte
	switch {
	case mime == webrtc.MimeTypeOpus:
		return fmt.Appendf(nil, "sound %d", n)
	case mime == webrtc.MimeTypeVP8 && key:
		head = []byte{0x10, 0, 0, 0x9d, 0x01, 0x2a}
	case mime == webrtc.MimeTypeVP8:
		head = []byte{0x11, 0, 0, 0, 0, 0}
	case key:
		head = []byte{0, 0, 0, 1, 0x67, 0x42, 0xc0, 0x1e, 0xd9, 0, 0, 0, 1, 0x68, 0xcb, 0x83, 0, 0, 0, 1, 0x65, 0x88}
	default:
		head = []byte{0, 0, 0, 1, 0x41, 0x9a}
	}
	head = fmt.Appendf(head, "frame %d", n)
	return append(head, bytes.Repeat([]byte{'-'}, 3000)...)
}

// write writes frames, each second one of which is a keyframe, until the session ends.
func (s *foreignSession) write(track *webrtc.TrackLocalStaticRTP, mime string) {
	split, _ := payload.NewPacketizer(mime)
	every, ticks := time.Second/30, uint32(3000)
	if mime == webrtc.MimeTypeOpus {
		every, ticks = 20*time.Millisecond, 960
	}
	h := rtp.Header{Version: 2}
	asked := 0
	for n := 0; ; n++ {
		s.mu.Lock()
		key := n%60 == 0 || s.asked > asked
		asked = s.asked
		s.mu.Unlock()
		payloads, _ := split.Split(foreignFrame(mime, n, key), 1188)
		for i, p := range payloads {
			h.Marker = i == len(payloads)-1
			_ = track.WriteRTP(&rtp.Packet{Header: h, Payload: p})
			h.SequenceNumber++
		}
		h.Timestamp += ticks
		select {
		case <-time.After(every):
		case <-s.done:
			return
		}
	}
}

// receive counts the packets of a track.
func (s *foreignSession) receive(remote *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
	t := &foreignTrack{remote: remote, seen: make(map[uint16]bool)}
	s.mu.Lock()
	s.came[remote.Kind().String()] = t
	s.mu.Unlock()
	for {
		p, _, err := remote.ReadRTP()
		if err != nil {
			return
		}
		s.mu.Lock()
		if t.packets++; t.packets == 1 {
			t.lowest = p.SequenceNumber
		}
		t.seen[p.SequenceNumber-t.lowest] = true
		s.mu.Unlock()
	}
}

// got returns how many packets of a kind have come, and how many are missing between
// the first and the last.
func (s *foreignSession) got(kind string) (packets, missing int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.came[kind]
	if t == nil {
		return 0, 0
	}
	var last uint16
	for n := range t.seen {
		if n < 1<<15 {
			last = max(last, n)
		}
	}
	return len(t.seen), max(int(last)+1-len(t.seen), 0)
}

// askForKeyframe asks the other side for one.
func (s *foreignSession) askForKeyframe() error {
	s.mu.Lock()
	ssrc := uint32(s.came["video"].remote.SSRC())
	s.mu.Unlock()
	return s.pc.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: ssrc}})
}

func (s *foreignSession) keyframesAsked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

func (s *foreignSession) ID() string { return fmt.Sprintf("%p", s) }

func (s *foreignSession) SDP() string                                   { return s.pc.LocalDescription().SDP }
func (s *foreignSession) Patch(context.Context, string) (string, error) { return "", nil }
func (s *foreignSession) Done() <-chan struct{}                         { return s.done }

func (s *foreignSession) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

func (s *foreignSession) End(err error) {
	s.once.Do(func() {
		s.mu.Lock()
		s.err = err
		s.mu.Unlock()
		close(s.done)
		_ = s.pc.GracefulClose()
		s.work.Wait()
	})
}

func (s *foreignSession) Close() error {
	s.End(cdn.ErrLeft)
	return nil
}

// textOf returns what foreignFrame has written into a frame.
func textOf(f cdn.Frame) (n int) {
	for _, word := range []string{"frame ", "sound "} {
		if _, rest, ok := strings.Cut(string(f.Data), word); ok {
			_, _ = fmt.Sscanf(rest, "%d", &n)
			return n
		}
	}
	return -1
}
