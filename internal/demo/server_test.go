package demo

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp/codecs"
	"github.com/pion/webrtc/v4"

	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/signal"
)

// A server is a Dialer that answers each offer with a stock PeerConnection on
// a virtual network, 10 ms away.
type server struct {
	t         *testing.T
	client    *cdntest.Host
	host      *cdntest.Host
	connected chan *serverSession

	refuse      []error // the first answers
	refuseAll   error
	hang        bool
	unreachable bool
	dropEvery   int64 // of the packets that look like video
	seen        atomic.Int64
	dropped     atomic.Int64

	dials    int
	sessions []*serverSession
}

func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{t: t, connected: make(chan *serverSession, 16)}
	network := cdntest.NewNetwork(t, cdntest.NetworkConfig{})
	path := cdntest.Path{Delay: 5 * time.Millisecond}
	s.client, s.host = network.Host("client", path), network.Host("server", path)
	network.SetFilter(s.pass)
	return s
}

// pass decides on each datagram. Large ones carry video.
func (s *server) pass(_, _ netip.AddrPort, payload []byte) bool {
	if s.dropEvery == 0 || len(payload) < 500 || payload[0]>>6 != 2 {
		return true
	}
	if s.seen.Add(1)%s.dropEvery != 0 {
		return true
	}
	s.dropped.Add(1)
	return false
}

// start publishes to s; the channel is closed when that has ended.
func start(ctx context.Context, t *testing.T, s *server) <-chan struct{} {
	t.Helper()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		err := Publish(ctx, Config{
			URL: "http://origin/whip/demo", Stream: "demo", Credential: "token", Dialer: s, Tune: s.client.Use,
		})
		if err != nil {
			t.Errorf("Publish: %v", err)
		}
	}()
	return ended
}

// Dial implements signal.Dialer.
func (s *server) Dial(ctx context.Context, _ string, o signal.Offer) (signal.RemoteSession, error) {
	s.dials++
	if s.hang {
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	if s.refuseAll != nil {
		return nil, s.refuseAll
	}
	if len(s.refuse) > 0 {
		err := s.refuse[0]
		s.refuse = s.refuse[1:]
		return nil, err
	}
	session := &serverSession{offer: o, tracks: map[string]*reception{}}
	if err := session.answer(s); err != nil {
		return nil, err
	}
	s.sessions = append(s.sessions, session)
	if s.unreachable {
		return session, session.pc.Close()
	}
	return session, nil
}

type serverSession struct {
	offer   signal.Offer
	pc      *webrtc.PeerConnection
	closed  int
	readers sync.WaitGroup

	mu     sync.Mutex
	tracks map[string]*reception
}

func (s *serverSession) answer(on *server) error {
	settings := webrtc.SettingEngine{}
	on.host.Use(&settings)
	pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(settings)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return err
	}
	s.pc = pc
	pc.OnTrack(func(track *webrtc.TrackRemote, receiver *webrtc.RTPReceiver) { s.receive(track, receiver) })
	pc.OnConnectionStateChange(func(state webrtc.PeerConnectionState) {
		if state == webrtc.PeerConnectionStateConnected {
			on.connected <- s
		}
	})
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: s.offer.SDP}); err != nil {
		return err
	}
	answer, err := pc.CreateAnswer(nil)
	if err != nil {
		return err
	}
	gathered := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(answer); err != nil {
		return err
	}
	<-gathered
	return nil
}

// SDP, Accept, Patch and Close implement signal.RemoteSession.
func (s *serverSession) SDP() string { return s.pc.LocalDescription().SDP }

func (s *serverSession) Accept(context.Context, string) error { return nil }

func (s *serverSession) Patch(context.Context, string) (string, error) { return "", nil }

func (s *serverSession) Close(context.Context) error {
	s.closed++
	err := s.pc.GracefulClose()
	s.readers.Wait()
	return err
}

// A reception is what came in of one track.
type reception struct {
	sequences          []int64
	frames             []int64 // the timestamp of each
	arrivals           []time.Time
	reports            int
	beginsWithKeyframe bool
}

func (s *serverSession) received(kind string) *reception {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.tracks[kind]; r != nil {
		return r
	}
	return &reception{}
}

func (s *serverSession) receive(track *webrtc.TrackRemote, receiver *webrtc.RTPReceiver) {
	r := &reception{}
	s.mu.Lock()
	s.tracks[track.Kind().String()] = r
	s.mu.Unlock()
	s.readers.Go(func() { s.countReports(receiver, r) })
	s.readers.Go(func() {
		for {
			packet, _, err := track.ReadRTP()
			if err != nil {
				return
			}
			s.mu.Lock()
			r.add(packet.SequenceNumber, packet.Timestamp, packet.Payload)
			s.mu.Unlock()
		}
	})
}

func (s *serverSession) countReports(receiver *webrtc.RTPReceiver, r *reception) {
	for {
		packets, _, err := receiver.ReadRTCP()
		if err != nil {
			return
		}
		for _, p := range packets {
			if _, ok := p.(*rtcp.SenderReport); ok {
				s.mu.Lock()
				r.reports++
				s.mu.Unlock()
			}
		}
	}
}

func (r *reception) add(sequence uint16, timestamp uint32, payload []byte) {
	if len(r.sequences) == 0 {
		var vp8 codecs.VP8Packet
		frame, err := vp8.Unmarshal(payload)
		r.beginsWithKeyframe = err == nil && vp8.S == 1 && frame[0]&1 == 0
	}
	r.sequences = append(r.sequences, int64(sequence))
	if n := len(r.frames); n == 0 || r.frames[n-1] != int64(timestamp) {
		r.frames = append(r.frames, int64(timestamp))
		r.arrivals = append(r.arrivals, time.Now())
	}
}

// maxDrift returns by how much an arrival differs at most from what its
// timestamp says, measured from the second second on, when the connection has
// settled.
func (r *reception) maxDrift(clock int64) time.Duration {
	first := len(r.frames) / 10
	var drift time.Duration
	for i := first; i < len(r.frames); i++ {
		media := time.Duration(uint32(r.frames[i]-r.frames[first])) * time.Second / time.Duration(clock)
		drift = max(drift, (r.arrivals[i].Sub(r.arrivals[first]) - media).Abs())
	}
	return drift
}

// missing returns the gaps among the first n packets.
func (r *reception) missing(n int) []int64 {
	sorted := slices.Clone(r.sequences)
	slices.Sort(sorted)
	sorted = slices.Compact(sorted)
	var missing []int64
	for i := 1; i < min(n, len(sorted)); i++ {
		for gap := sorted[i-1] + 1; gap < sorted[i]; gap++ {
			missing = append(missing, gap)
		}
	}
	return missing
}
